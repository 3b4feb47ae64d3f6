"""The caching reader under writes: no page older than an invalidation is served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.errors import DeadlineExceeded, PreconditionFailed
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.tags import tags_of_table
from dynamodb_processor_server.reader import (
    CachePolicy,
    CacheStatus,
    Page,
    ReadAhead,
)
from tests.support.warped_time import warped
from tests.unit.cache.cached_table import (
    AHEAD,
    ONLY,
    REFRESH,
    TTL,
    CachedTable,
    invalidate,
    value,
    write,
)
from tests.unit.dynamodb.small_table import make_plan

OTHERS = make_plan("device = 'e'")
BY_LEVEL = make_plan("level = 'low'")
SCAN = make_plan("", allow_scan=True)


@warped
async def test_after_an_invalidation_no_older_page_is_served() -> None:
    """No cache policy returns an older page."""
    cached = CachedTable()
    assert value(await cached.get()) == 0
    write(cached)
    assert value(await cached.get()) == 0, "nobody has said anything yet"
    invalidate(cached)
    with pytest.raises(PreconditionFailed):
        await cached.get(cache=ONLY)
    page = await cached.get()
    assert (page.status, value(page)) == (CacheStatus.MISS, 99)


@warped
async def test_other_partitions_stay_cached() -> None:
    """Other partitions of the table stay cached; a scan reads all partitions."""
    cached = CachedTable()
    for plan in (OTHERS, SCAN):
        await cached.get(plan)
    invalidate(cached)
    assert (await cached.get(OTHERS)).status is CacheStatus.HIT
    assert (await cached.get(SCAN)).status is CacheStatus.MISS


@warped
async def test_a_whole_table_ends_every_page() -> None:
    """Every page of that table ends."""
    cached = CachedTable()
    for plan in (OTHERS, SCAN, BY_LEVEL):
        await cached.get(plan)
    cached.generations.invalidate(tags_of_table(TableIdentity("another")))
    assert (await cached.get(OTHERS)).status is CacheStatus.HIT
    cached.generations.invalidate(tags_of_table(TableIdentity("readings")))
    for plan in (OTHERS, SCAN, BY_LEVEL):
        assert (await cached.get(plan)).status is CacheStatus.MISS


@pytest.mark.parametrize("limits", [{}, {"cache": REFRESH}, {"max_scanned_items": 50}])
@warped
async def test_a_read_under_way_is_not_stored(limits: dict[str, Any]) -> None:
    """The page may lack the write; only the caller from before the invalidation gets it."""
    cached = CachedTable()
    cached.seconds = 1.0
    early = asyncio.create_task(cached.get(**limits))
    await asyncio.sleep(0.5)
    write(cached)
    invalidate(cached)
    page = await early
    assert (value(page), page.expires_in) == (0, None)
    cached.now += 60.0
    assert value(await cached.get()) == 99
    assert len(cached.store) == 1


@warped
async def test_a_flight_from_before_is_not_joined() -> None:
    """A call after an invalidation gets a page that is read after it."""
    cached = CachedTable()
    cached.seconds = 1.0
    early = asyncio.create_task(cached.get())
    await asyncio.sleep(0.5)
    write(cached)
    invalidate(cached)
    late = [asyncio.create_task(cached.get()) for _ in range(10)]
    assert value(await early) == 0
    assert [value(await page) for page in late] == [99] * 10
    assert cached.reads == 2


@pytest.mark.parametrize(
    ("plan", "limits", "seconds"),
    [(BY_LEVEL, {}, 10.0), (SCAN, {}, 2.0), (make_plan(), {"max_scanned_items": 500}, 2.0)],
    ids=["index", "scan", "budgeted"],
)
@warped
async def test_during_quarantine_eventual_reads_are_not_stored(
    plan: Plan, limits: dict[str, Any], seconds: float
) -> None:
    """Such pages may still lack the write."""
    cached = CachedTable()
    cached.generations.invalidate(tags_of_table(TableIdentity("readings")))
    for moment in (0.0, seconds - 0.01):
        cached.now = 1_000.0 + moment
        page = await cached.get(plan, **limits)
        assert (page.status, page.expires_in) == (CacheStatus.MISS, None)
    cached.now = 1_000.0 + seconds
    assert (await cached.get(plan, **limits)).expires_in is not None
    assert (await cached.get(plan, **limits)).status is CacheStatus.HIT
    assert not any(cached.strong)


@pytest.mark.parametrize("limits", [{}, {"cache": REFRESH}])
@warped
async def test_during_quarantine_consistent_reads_are_stored(limits: dict[str, Any]) -> None:
    """Such a read has the write, and costs no more than several eventual reads."""
    cached = CachedTable()
    await cached.get()
    invalidate(cached)
    page = await cached.get(**limits)
    assert (page.status, page.expires_in) == (CacheStatus.MISS, TTL)
    assert (await cached.get()).status is CacheStatus.HIT
    cached.now += 2.0
    await cached.get(cache=REFRESH)
    assert cached.strong == [False, True, False]


@warped
async def test_a_flight_of_the_quarantine_is_not_joined_after_it() -> None:
    """An eventual read may be older than the read of a later caller."""
    cached = CachedTable()
    cached.seconds = 2.5
    cached.generations.invalidate(tags_of_table(TableIdentity("readings")))
    first = asyncio.create_task(cached.get(BY_LEVEL))
    await asyncio.sleep(1.0)
    second = asyncio.create_task(cached.get(BY_LEVEL))
    await asyncio.sleep(1.0)
    cached.now += 10.0
    third = asyncio.create_task(cached.get(BY_LEVEL))
    statuses = [(await page).status for page in (first, second, third)]
    assert statuses == [CacheStatus.MISS, CacheStatus.COALESCED, CacheStatus.MISS]
    assert cached.reads == 2


@pytest.mark.parametrize("limits", [{}, {"max_scanned_items": 500}])
@warped
async def test_an_invalidation_ends_prefetched_items(limits: dict[str, Any]) -> None:
    """Items prefetched by a stream begin its next page only if there was no invalidation."""
    cached = CachedTable()
    cached.reads_ahead = True

    async def next_page(at: bytes = b"", ahead: ReadAhead | None = None) -> Page:
        page = await cached.get(at=at, reads_on=True, read_ahead=ahead, **limits)
        assert page.read_ahead is not None
        assert page.read_ahead.snapshot is not None
        return page

    page = await next_page()
    second = await next_page(page.content.next or b"", page.read_ahead)
    invalidate(cached)
    await next_page(page.content.next or b"", second.read_ahead)
    assert cached.in_advance == [None, AHEAD, None]


@pytest.mark.parametrize(
    ("policy", "seconds", "goes_on"),
    [
        (CachePolicy(), 9.0, True),
        (CachePolicy(), 11.0, False),
        (CachePolicy(max_staleness=5.0), 4.0, True),
        (CachePolicy(max_staleness=5.0), 6.0, False),
    ],
)
@warped
async def test_prefetched_items_grow_old(
    policy: CachePolicy, seconds: float, goes_on: bool
) -> None:
    """Old items are not used, since a page counts as just read."""
    cached = CachedTable()
    cached.reads_ahead = True
    page = await cached.get(reads_on=True, cache=policy)
    cached.now += seconds
    following, ahead = page.content.next or b"", page.read_ahead
    await cached.get(at=following, read_ahead=ahead, reads_on=True, cache=policy)
    assert cached.in_advance == [None, AHEAD if goes_on else None]


@warped
async def test_a_call_from_quarantine_reads_consistently_only_during_it() -> None:
    """Items prefetched by then are read again."""
    cached = CachedTable()
    cached.reads_ahead = True
    invalidate(cached)
    page = await cached.get(reads_on=True)
    cached.now += 2.0
    await cached.get(at=page.content.next or b"", read_ahead=page.read_ahead, reads_on=True)
    assert cached.in_advance == [None, None]
    assert cached.strong == [True, False]


@warped
async def test_a_flight_that_outlasts_its_call_prefetches_nothing_for_it() -> None:
    """Its prefetched items belong to a page that the call never got."""
    cached = CachedTable()
    cached.seconds = 5.0
    cached.reads_ahead = True
    early = asyncio.create_task(cached.get(reads_on=True, seconds=1.0))
    await asyncio.sleep(0)
    other = asyncio.create_task(cached.get(reads_on=True))
    (failure,) = await asyncio.gather(early, return_exceptions=True)
    assert isinstance(failure, DeadlineExceeded)
    page = await other
    assert (page.status, page.read_ahead) == (CacheStatus.COALESCED, None)


@warped
async def test_a_thousand_misses_make_one_read_if_some_leave() -> None:
    """Any of the waiting callers may be cancelled, the leader included."""
    cached = CachedTable()
    cached.seconds = 1.0
    callers = [asyncio.create_task(cached.get()) for _ in range(1_000)]
    await asyncio.sleep(0.5)
    leavers = callers[::7]
    for caller in leavers:
        caller.cancel()
    pages = await asyncio.gather(*callers, return_exceptions=True)
    assert cached.reads == 1
    assert sum(isinstance(page, asyncio.CancelledError) for page in pages) == len(leavers)
    assert sum(isinstance(page, Page) for page in pages) == 1_000 - len(leavers)
