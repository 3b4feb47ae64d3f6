"""The caching reader after a page's expiry: stale pages, renewed pages, and missing ones."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.reader import NO_USAGE, CachePolicy, CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.cached_table import ONLY, REFRESH, TTL, CachedTable, invalidate, value, write
from tests.unit.dynamodb.small_table import make_plan

WHILE = make_plan(stale_while_revalidate=60.0)
IF_ERROR = make_plan(stale_if_error=600.0)
BROKEN = BackendUnavailable("broken")


async def expired(plan: Any, seconds: float = 1.0) -> CachedTable:
    """Return a cached table whose page expired so many seconds ago, and was written to since.

    The write was not announced.
    """
    cached = CachedTable()
    await cached.get(plan)
    write(cached)
    cached.now += TTL + seconds
    return cached


@warped
async def test_a_stale_page_is_served_while_it_is_read_again() -> None:
    """It is served at once as STALE; one read brings the next callers a fresh page."""
    cached = await expired(WHILE)
    cached.seconds = 1.0
    for _ in range(3):
        page = await cached.get(WHILE)
        assert (page.status, value(page)) == (CacheStatus.STALE, 0)
        assert (page.age, page.expires_in, page.usage) == (TTL + 1.0, None, NO_USAGE)
    await asyncio.sleep(2.0)
    assert cached.reads == 2
    page = await cached.get(WHILE)
    assert (page.status, value(page)) == (CacheStatus.HIT, 99)


@warped
async def test_during_quarantine_it_is_read_again_consistently() -> None:
    """A consistent page can be stored."""
    plan = make_plan(cache_ttl=1.0, stale_while_revalidate=60.0)
    cached = CachedTable()
    invalidate(cached)
    await cached.get(plan)
    cached.now += 1.5
    assert (await cached.get(plan)).status is CacheStatus.STALE
    await asyncio.sleep(1.0)
    assert (await cached.get(plan)).status is CacheStatus.HIT
    assert cached.strong == [True, True]


@warped
async def test_a_caller_for_less_staleness_waits_for_the_read() -> None:
    """The caller joins the read that is under way."""
    cached = await expired(WHILE)
    cached.seconds = 1.0
    await cached.get(WHILE)
    page = await cached.get(WHILE, cache=CachePolicy(max_staleness=TTL))
    assert (page.status, value(page)) == (CacheStatus.COALESCED, 99)
    assert cached.reads == 2


@warped
async def test_a_read_in_the_background_outlives_its_callers() -> None:
    """A caller that leaves does not cancel it."""
    cached = await expired(WHILE)
    cached.seconds = 1.0
    await cached.get(WHILE)
    policy = CachePolicy(max_staleness=TTL)
    with pytest.raises(DeadlineExceeded):
        await cached.get(WHILE, cache=policy, seconds=0.1)
    await asyncio.sleep(1.0)
    assert (await cached.get(WHILE)).status is CacheStatus.HIT


@warped
async def test_a_stale_page_may_be_all_that_is_cached() -> None:
    """ONLY_IF_CACHED returns it, and starts no read in the background."""
    cached = await expired(WHILE)
    assert (await cached.get(WHILE, cache=ONLY)).status is CacheStatus.STALE
    await asyncio.sleep(1.0)
    assert cached.reads == 1


@warped
async def test_few_pages_are_read_again_at_a_time() -> None:
    """The other pages are served stale as long as those reads last."""
    plans = [make_plan(f"device = '{n}'", stale_while_revalidate=60.0) for n in range(30)]
    cached = CachedTable()
    for plan in plans:
        await cached.get(plan)
    cached.now += TTL
    cached.seconds = 1.0
    pages = [await cached.get(plan) for plan in plans]
    assert {page.status for page in pages} == {CacheStatus.STALE}
    await asyncio.sleep(0.5)
    assert cached.reads == 50
    await asyncio.sleep(1.0)
    assert (await cached.get(plans[-1])).status is CacheStatus.STALE
    await cached.reader.close()


@pytest.mark.parametrize("error", [BROKEN, DeadlineExceeded("too late")])
@pytest.mark.parametrize("limits", [{}, {"max_scanned_items": 50}])
@warped
async def test_a_stale_page_is_better_than_an_error(
    error: Exception, limits: dict[str, Any]
) -> None:
    """It is served only after an error; while DynamoDB answers, it is read."""
    cached = await expired(IF_ERROR)
    cached.error = error
    page = await cached.get(IF_ERROR, **limits)
    assert (page.status, value(page)) == (CacheStatus.STALE, 0)
    cached.error = None
    page = await cached.get(IF_ERROR, **limits)
    assert (page.status, value(page)) == (CacheStatus.MISS, 99)


@pytest.mark.parametrize(
    ("seconds", "cache"),
    [(600.0, CachePolicy()), (1.0, REFRESH), (1.0, CachePolicy(max_staleness=TTL))],
    ids=["too old", "refresh", "too stale for the caller"],
)
@warped
async def test_an_error_is_better_than_some_pages(seconds: float, cache: CachePolicy) -> None:
    """The error is served past the table's limit, past the caller's, and for uncached reads."""
    cached = await expired(IF_ERROR, seconds)
    cached.error = BROKEN
    with pytest.raises(BackendUnavailable):
        await cached.get(IF_ERROR, cache=cache)


@pytest.mark.parametrize("plan", [WHILE, IF_ERROR], ids=["while revalidating", "if error"])
@warped
async def test_an_invalidated_page_is_never_served(plan: Any) -> None:
    """An invalidated page is served neither as stale nor instead of an error."""
    cached = await expired(plan)
    invalidate(cached)
    cached.error = BROKEN
    with pytest.raises(BackendUnavailable):
        await cached.get(plan)


@warped
async def test_an_invalidation_ends_a_page_held_for_an_error() -> None:
    """The page was valid when the read began, and is invalidated when it fails."""
    cached = await expired(IF_ERROR)
    cached.seconds, cached.error = 1.0, BROKEN
    reading = asyncio.create_task(cached.get(IF_ERROR))
    await asyncio.sleep(0.5)
    invalidate(cached)
    with pytest.raises(BackendUnavailable):
        await reading


@warped
async def test_by_default_nothing_is_served_stale() -> None:
    """A table has to allow both."""
    cached = await expired(make_plan(), 0.0)
    cached.error = BROKEN
    with pytest.raises(BackendUnavailable):
        await cached.get()


@pytest.mark.parametrize("plan", [make_plan(), WHILE, IF_ERROR])
@warped
async def test_no_page_is_kept_past_an_items_expiry(plan: Any) -> None:
    """An item's expiry bounds any times of the table."""
    cached = CachedTable()
    cached.valid_until = cached.now + 40.0
    assert (await cached.get(plan)).expires_in == 40.0
    cached.now += 39.0
    assert (await cached.get(plan)).status is CacheStatus.HIT
    cached.now += 1.0
    page = await cached.get(plan)
    assert (page.status, page.expires_in) == (CacheStatus.MISS, None), "its time is over"
    assert cached.reads == 2
