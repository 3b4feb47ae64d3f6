"""The caching reader: concurrent misses share one read, unless a caller excludes that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
)
from dynamodb_processor_server.reader import (
    CachePolicy,
    CacheStatus,
)
from tests.support.warped_time import warped
from tests.unit.cache.cached_table import BYPASS, REFRESH, TTL, CachedTable


@warped
async def test_concurrent_misses_share_one_read() -> None:
    """One caller pays for it, the others report COALESCED, and it is stored once for all."""
    cached = CachedTable()
    cached.seconds = 1.0
    pages = await asyncio.gather(*(cached.get() for _ in range(100)))
    assert cached.reads == 1
    statuses = [page.status for page in pages]
    assert statuses.count(CacheStatus.MISS) == 1
    assert statuses.count(CacheStatus.COALESCED) == 99
    assert sum(page.usage.items_scanned for page in pages) == 10
    assert len({id(page.content) for page in pages}) == 1
    assert all(page.expires_in == TTL for page in pages)
    assert (await cached.get()).status is CacheStatus.HIT


@pytest.mark.parametrize(
    "limits",
    [
        {"cache": BYPASS},
        {"cache": REFRESH},
        {"max_scanned_items": 50},
        {"cache": CachePolicy(max_staleness=0.4)},
    ],
)
@warped
async def test_callers_that_need_an_own_read_do_not_join(limits: dict[str, Any]) -> None:
    """BYPASS, REFRESH and budgets exclude it, and so does a read that began too long ago."""
    cached = CachedTable()
    cached.seconds = 1.0
    first = asyncio.create_task(cached.get())
    await asyncio.sleep(0.5)
    page = await cached.get(**limits)
    assert page.status is not CacheStatus.COALESCED
    assert cached.reads == 2
    assert (await first).status is CacheStatus.MISS


@warped
async def test_a_callers_deadline_is_its_own() -> None:
    """It does not bound the read, for which others wait and which is stored."""
    cached = CachedTable()
    cached.seconds = 5.0
    hasty = asyncio.create_task(cached.get(seconds=1.0))
    await asyncio.sleep(0)
    patient = asyncio.create_task(cached.get())
    with pytest.raises(DeadlineExceeded):
        await hasty
    assert (await patient).status is CacheStatus.COALESCED
    assert (await cached.get()).status is CacheStatus.HIT
    assert cached.reads == 1


@warped
async def test_a_hung_read_does_not_hang_its_callers() -> None:
    """The read has a bound of its own, no caller's deadline: the table answers too slowly.

    Those who wait for another caller's read begin a second one after two seconds.
    """
    cached = CachedTable(read_timeout=20.0)
    cached.seconds = 1e6
    loop = asyncio.get_running_loop()
    began = loop.time()
    results = await asyncio.gather(
        *(cached.get(seconds=600.0) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(result, BackendUnavailable) for result in results)
    assert loop.time() - began == pytest.approx(22.0)
    assert cached.reads == 2
    cached.seconds = 0.0
    assert (await cached.get()).status is CacheStatus.MISS


@warped
async def test_a_slow_leader_holds_others_up_for_a_bounded_time() -> None:
    """After two seconds one of them reads, and the rest and later callers share that read."""
    cached = CachedTable()
    cached.seconds = 10.0
    loop = asyncio.get_running_loop()
    began = loop.time()
    leader = asyncio.create_task(cached.get())
    await asyncio.sleep(0.5)
    cached.seconds = 0.25
    followers = [asyncio.create_task(cached.get()) for _ in range(5)]
    await asyncio.sleep(2.1)
    later = asyncio.create_task(cached.get())
    pages = [await page for page in (*followers, later)]
    assert loop.time() - began == pytest.approx(2.75)
    assert sorted(page.status.name for page in pages) == ["COALESCED"] * 5 + ["MISS"]
    assert (await leader).status is CacheStatus.MISS
    assert cached.reads == 2


@warped
async def test_a_caller_whose_leader_has_left_goes_on_waiting() -> None:
    """The read under way is its own by then; another one would begin from the start."""
    cached = CachedTable()
    cached.seconds = 5.0
    leader = asyncio.create_task(cached.get(seconds=1.0))
    await asyncio.sleep(0.5)
    follower = asyncio.create_task(cached.get())
    with pytest.raises(DeadlineExceeded):
        await leader
    assert (await follower).status is CacheStatus.COALESCED
    assert cached.reads == 1


@warped
async def test_followers_of_a_read_without_admission_ask_once_more() -> None:
    """The refusal was the leader's; its followers share another read."""
    cached = CachedTable()
    cached.seconds = 1.0
    cached.error = Overloaded("no place", 1.0)
    first = asyncio.create_task(cached.get())
    await asyncio.sleep(0.5)
    others = [asyncio.create_task(cached.get()) for _ in range(5)]
    with pytest.raises(Overloaded):
        await first
    cached.error = None
    pages = await asyncio.gather(*others)
    assert cached.reads == 2
    assert sorted(page.status.name for page in pages) == ["COALESCED"] * 4 + ["MISS"]


@warped
async def test_two_refusals_are_final() -> None:
    """The followers do not ask a third time."""
    cached = CachedTable()
    cached.seconds = 0.5
    cached.error = Overloaded("no place", 1.0)
    outcomes = await asyncio.gather(*(cached.get() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, Overloaded) for outcome in outcomes)
    assert cached.reads == 2
