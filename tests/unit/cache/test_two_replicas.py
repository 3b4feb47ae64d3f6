"""Two caching Readers over one shared tier: who reads, who waits, and what is served unheard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Literal

import pytest

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.invalidator import SharedInvalidator
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.reader import CachingReader
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import (
    FRESH_SECONDS,
    InvalidationLogFollower,
)
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.tags import tags_of_table
from dynamodb_processor_server.reader import START, CacheStatus, Cursor, Page, ReadOptions
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from tests.support.fake_reader import InMemoryReader
from tests.support.shared_tier import MemoryTier
from tests.support.warped_time import warped
from tests.unit.dynamodb.small_table import make_items, make_limits, make_plan

TIMEOUT: Final = 0.1
PLAN: Final = make_plan()
SEALER: Final = PageCipher((TokenKey("one", bytes(range(32))),))


class Table:
    """A table that takes `seconds` to read; `strong` says of each read whether it was strong."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.strong: list[bool] = []
        self._reader = InMemoryReader(make_items(25), now=asyncio.get_running_loop().time)

    async def read_page(self, plan: Plan, at: Cursor, limits: ReadOptions) -> Page:
        """Read as DynamoDB would."""
        self.strong.append(plan.consistent)
        page = await self._reader.read_page(plan, at, limits)
        await asyncio.sleep(self.seconds)
        return page


@dataclass(frozen=True, slots=True)
class Replica:
    """What one of them has of its own."""

    reader: CachingReader
    view: InvalidationLogFollower
    invalidator: SharedInvalidator

    async def get(self, **limits: Any) -> Page:
        """Ask for the one page."""
        return await self.reader.read_page(PLAN, START, make_limits(**limits))


@asynccontextmanager
async def replica(
    tier: MemoryTier, table: Table, lost: Literal["bypass", "serve_until_ttl"] = "bypass"
) -> AsyncIterator[Replica]:
    """Open one that has just heard of every invalidation; a test lets it hear of more."""
    now = asyncio.get_running_loop().time
    generations = Generations(now)
    view = InvalidationLogFollower(tier, SEALER, generations, TIMEOUT, now)
    breaker = CircuitBreaker(BreakerSettings(), now, lambda: 0.5)
    shared = SharedPageCache(
        tier, SEALER, view, GuardedStore(breaker, TIMEOUT), lost, now, lambda: 0.5
    )
    reader = CachingReader(
        table,
        PageStore(1_000_000, now),
        generations,
        read_timeout=20.0,
        shared=shared,
        now=now,
        jitter=lambda: 0.5,
    )
    await view.poll()
    yield Replica(reader, view, SharedInvalidator(generations, tier, SEALER, TIMEOUT))
    await reader.close()
    await shared.close()


def new_tier() -> MemoryTier:
    """Return an empty tier on the loop's clock."""
    return MemoryTier(asyncio.get_running_loop().time, Random(1))


@warped
async def test_who_misses_together_makes_one_read() -> None:
    """On two replicas: the others wait for the page of the one who has the lease."""
    tier, table = new_tier(), Table(seconds=0.2)
    async with replica(tier, table) as first, replica(tier, table) as second:
        pages = await asyncio.gather(*(each.get() for each in (first, second) for _ in range(50)))
    assert len(table.strong) == 1
    statuses = [page.status for page in pages]
    assert statuses.count(CacheStatus.MISS) == 1
    assert statuses.count(CacheStatus.SHARED_HIT) == 50
    assert statuses.count(CacheStatus.COALESCED) == 49


@warped
async def test_a_read_that_takes_long_is_not_waited_for() -> None:
    """For longer than 0.3 s: whoever holds the lease may have died."""
    tier, table = new_tier(), Table(seconds=2.0)
    async with replica(tier, table) as first, replica(tier, table) as second:
        began = asyncio.get_running_loop().time()
        reading = asyncio.create_task(first.get())
        await asyncio.sleep(0.01)
        page = await second.get()
        took = asyncio.get_running_loop().time() - began
        await reading
    assert page.status is CacheStatus.MISS
    assert len(table.strong) == 2
    assert 2.3 <= took < 2.4


@warped
async def test_a_strong_read_of_the_quarantine_is_shared() -> None:
    """It was made once more so that nobody else has to, on any replica."""
    tier, table = new_tier(), Table(seconds=0.0)
    async with replica(tier, table) as first, replica(tier, table) as second:
        await first.invalidator.invalidate(tags_of_table(TableIdentity("readings")))
        for each in (first, second):
            await each.view.poll()
        miss, hit = await first.get(), await second.get()
    assert (miss.status, hit.status) == (CacheStatus.MISS, CacheStatus.SHARED_HIT)
    assert table.strong == [True]


@pytest.mark.parametrize(
    ("lost", "status"), [("bypass", CacheStatus.MISS), ("serve_until_ttl", CacheStatus.HIT)]
)
@warped
async def test_a_replica_that_hears_nothing(
    lost: Literal["bypass", "serve_until_ttl"], status: CacheStatus
) -> None:
    """Trusts none of its pages, or all of them until their time, as the operator wants it."""
    async with replica(new_tier(), Table(seconds=0.0), lost) as alone:
        await alone.get()
        assert (await alone.get()).status is CacheStatus.HIT
        await asyncio.sleep(FRESH_SECONDS)
        assert not alone.view.fresh
        assert (await alone.get()).status is status
        await asyncio.sleep(PLAN.table.config.cache_ttl)
        assert (await alone.get()).status is CacheStatus.MISS
