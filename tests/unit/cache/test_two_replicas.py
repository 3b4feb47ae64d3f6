"""Two caching Readers over one shared cache: reads, waiting, and pages served without Redis."""

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
from dynamodb_processor_server.cache.reader import CachingReader, cached_reader
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import (
    FRESH_SECONDS,
    InvalidationLogFollower,
)
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import tags_of_table
from dynamodb_processor_server.reader import CachePolicy, CacheStatus, Page, PageRead
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from tests.support.fake_reader import InMemoryReader
from tests.support.reads import make_read
from tests.support.shared_cache import MemorySharedCache
from tests.support.warped_time import warped
from tests.unit.dynamodb.small_table import make_items, make_plan

TIMEOUT: Final = 0.1
PLAN: Final = make_plan()
CIPHER: Final = PageCipher((TokenKey("one", bytes(range(32))),))


class Table:
    """A table whose reads take `seconds`; `consistent_reads` says of each if it was consistent."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.consistent_reads: list[bool] = []
        self._reader = InMemoryReader(make_items(25), now=asyncio.get_running_loop().time)

    async def read_page(self, request: PageRead) -> Page:
        """Read as DynamoDB would."""
        self.consistent_reads.append(request.plan.consistent)
        page = await self._reader.read_page(request)
        await asyncio.sleep(self.seconds)
        return page


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica's reader, invalidation log and invalidator."""

    reader: CachingReader
    log: InvalidationLogFollower
    invalidator: SharedInvalidator

    async def get(self, **limits: Any) -> Page:
        """Read the page."""
        return await self.reader.read_page(make_read(PLAN, **limits))


@asynccontextmanager
async def replica(
    store: MemorySharedCache,
    table: Table,
    when_unavailable: Literal["bypass", "serve_until_ttl"] = "bypass",
) -> AsyncIterator[Replica]:
    """Open a replica whose log is up to date; a test makes it poll again."""
    now = asyncio.get_running_loop().time
    generations = Generations(now)
    log = InvalidationLogFollower(store, CIPHER, generations, TIMEOUT, now)
    breaker = CircuitBreaker(BreakerSettings(), now, lambda: 0.5)
    shared = SharedPageCache(
        store, CIPHER, log, GuardedStore(breaker, TIMEOUT), when_unavailable, now, lambda: 0.5
    )
    reader = cached_reader(
        table,
        PageStore(1_000_000, now),
        generations,
        read_timeout=20.0,
        shared=shared,
        now=now,
        jitter=lambda: 0.5,
    )
    await log.poll()
    yield Replica(reader, log, SharedInvalidator(generations, store, CIPHER, TIMEOUT))
    await reader.close()
    await shared.close()


def new_store() -> MemorySharedCache:
    """Return an empty shared cache on the loop's clock."""
    return MemorySharedCache(asyncio.get_running_loop().time, Random(1))


@warped
async def test_concurrent_misses_on_two_replicas_make_one_read() -> None:
    """The others wait for the page of the holder of the lease."""
    store, table = new_store(), Table(seconds=0.2)
    async with replica(store, table) as first, replica(store, table) as second:
        pages = await asyncio.gather(*(each.get() for each in (first, second) for _ in range(50)))
    assert len(table.consistent_reads) == 1
    statuses = [page.status for page in pages]
    assert statuses.count(CacheStatus.MISS) == 1
    assert statuses.count(CacheStatus.SHARED_HIT) == 50
    assert statuses.count(CacheStatus.COALESCED) == 49


@warped
async def test_a_slow_read_of_another_replica_is_not_awaited() -> None:
    """After 0.3 s the holder of the lease may have died."""
    store, table = new_store(), Table(seconds=2.0)
    async with replica(store, table) as first, replica(store, table) as second:
        began = asyncio.get_running_loop().time()
        slow = asyncio.create_task(first.get())
        await asyncio.sleep(0.01)
        page = await second.get()
        took = asyncio.get_running_loop().time() - began
        await slow
    assert page.status is CacheStatus.MISS
    assert len(table.consistent_reads) == 2
    assert 2.3 <= took < 2.4


@warped
async def test_a_shared_page_may_be_too_old_for_a_caller() -> None:
    """A page of another replica counts as shared if it shows the writes, or was seen before."""
    store, table = new_store(), Table(seconds=0.1)
    now = asyncio.get_running_loop().time
    async with (
        replica(store, table) as first,
        replica(store, table) as second,
        replica(store, table) as third,
    ):
        page = (await first.get()).content
        bound = now()
        seen = CachePolicy(not_before=bound, seen=page.digest)
        assert (await second.get(cache=seen)).status is CacheStatus.SHARED_HIT
        later = await second.get(cache=CachePolicy(not_before=bound))
        assert later.status is CacheStatus.MISS
        again = await third.get(cache=CachePolicy(not_before=bound))
        assert again.status is CacheStatus.SHARED_HIT
        assert again.content.digest == later.content.digest
    assert len(table.consistent_reads) == 2


@warped
async def test_a_follower_does_not_take_an_older_shared_page() -> None:
    """The read that it joined found a page that was fresh enough for its leader alone."""
    store, table = new_store(), Table(seconds=0.1)
    now = asyncio.get_running_loop().time
    async with replica(store, table) as first, replica(store, table) as second:
        old = await first.get(cache=CachePolicy(not_before=now()))
        await asyncio.sleep(1.0)
        await second.log.poll()
        bounds = old.content.shows_until, now()
        pages = await asyncio.gather(
            *(second.get(cache=CachePolicy(not_before=bound)) for bound in bounds)
        )
    assert [page.status for page in pages] == [CacheStatus.SHARED_HIT, CacheStatus.MISS]
    assert table.consistent_reads == [True, True]


@warped
async def test_a_consistent_read_during_quarantine_is_shared() -> None:
    """One replica makes it, and the others get its page."""
    store, table = new_store(), Table(seconds=0.0)
    async with replica(store, table) as first, replica(store, table) as second:
        await first.invalidator.invalidate(tags_of_table(TableIdentity("readings")))
        for each in (first, second):
            await each.log.poll()
        miss, hit = await first.get(), await second.get()
    assert (miss.status, hit.status) == (CacheStatus.MISS, CacheStatus.SHARED_HIT)
    assert table.consistent_reads == [True]


@pytest.mark.parametrize(
    ("when_unavailable", "status"),
    [("bypass", CacheStatus.MISS), ("serve_until_ttl", CacheStatus.HIT)],
)
@warped
async def test_a_replica_without_redis_serves_local_pages_as_configured(
    when_unavailable: Literal["bypass", "serve_until_ttl"], status: CacheStatus
) -> None:
    """It serves none of its pages, or all of them until their expiry."""
    async with replica(new_store(), Table(seconds=0.0), when_unavailable) as alone:
        await alone.get()
        assert (await alone.get()).status is CacheStatus.HIT
        await asyncio.sleep(FRESH_SECONDS)
        assert not alone.log.fresh
        assert (await alone.get()).status is status
        await asyncio.sleep(PLAN.table.config.cache_ttl)
        assert (await alone.get()).status is CacheStatus.MISS
