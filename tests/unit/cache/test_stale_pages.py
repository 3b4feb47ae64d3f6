"""The caching Reader past a page's time: who still gets it, who reads it again, and who never."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.reader import NO_USAGE, CachePolicy, CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.test_invalidator import invalidate, value, write
from tests.unit.cache.world import ONLY, REFRESH, TTL, World
from tests.unit.dynamodb.small_table import make_plan

WHILE = make_plan(stale_while_revalidate=60.0)
IF_ERROR = make_plan(stale_if_error=600.0)
BROKEN = BackendUnavailable("broken")


async def expired(plan: Any, seconds: float = 1.0) -> World:
    """Return a world whose page expired so many seconds ago, and was written to since it was read.

    Nobody has said anything of that.
    """
    world = World()
    await world.get(plan)
    write(world)
    world.now += TTL + seconds
    return world


@warped
async def test_a_stale_page_is_served_while_it_is_read_again() -> None:
    """At once, and saying so; one read brings the next ones a fresh page."""
    world = await expired(WHILE)
    world.seconds = 1.0
    for _ in range(3):
        page = await world.get(WHILE)
        assert (page.status, value(page)) == (CacheStatus.STALE, 0)
        assert (page.age, page.expires_in, page.usage) == (TTL + 1.0, None, NO_USAGE)
    await asyncio.sleep(2.0)
    assert world.reads == 2
    page = await world.get(WHILE)
    assert (page.status, value(page)) == (CacheStatus.HIT, 99)


@warped
async def test_in_quarantine_it_is_read_again_strongly() -> None:
    """So that what comes of it can be stored."""
    plan = make_plan(cache_ttl=1.0, stale_while_revalidate=60.0)
    world = World()
    invalidate(world)
    await world.get(plan)
    world.now += 1.5
    assert (await world.get(plan)).status is CacheStatus.STALE
    await asyncio.sleep(1.0)
    assert (await world.get(plan)).status is CacheStatus.HIT
    assert world.strong == [True, True]


@warped
async def test_who_asks_for_less_staleness_waits_for_the_read() -> None:
    """It joins the one that is under way."""
    world = await expired(WHILE)
    world.seconds = 1.0
    await world.get(WHILE)
    page = await world.get(WHILE, cache=CachePolicy(max_staleness=TTL))
    assert (page.status, value(page)) == (CacheStatus.COALESCED, 99)
    assert world.reads == 2


@warped
async def test_a_read_in_the_background_outlives_who_joins_it() -> None:
    """It is not theirs to take along."""
    world = await expired(WHILE)
    world.seconds = 1.0
    await world.get(WHILE)
    policy = CachePolicy(max_staleness=TTL)
    with pytest.raises(DeadlineExceeded):
        await world.get(WHILE, cache=policy, seconds=0.1)
    await asyncio.sleep(1.0)
    assert (await world.get(WHILE)).status is CacheStatus.HIT


@warped
async def test_a_stale_page_may_be_all_that_is_cached() -> None:
    """ONLY_IF_CACHED takes it, and reads nothing in the background either."""
    world = await expired(WHILE)
    assert (await world.get(WHILE, cache=ONLY)).status is CacheStatus.STALE
    await asyncio.sleep(1.0)
    assert world.reads == 1


@warped
async def test_few_pages_are_read_again_at_a_time() -> None:
    """The others are served stale as long as that lasts."""
    plans = [make_plan(f"device = '{n}'", stale_while_revalidate=60.0) for n in range(30)]
    world = World()
    for plan in plans:
        await world.get(plan)
    world.now += TTL
    world.seconds = 1.0
    pages = [await world.get(plan) for plan in plans]
    assert {page.status for page in pages} == {CacheStatus.STALE}
    await asyncio.sleep(0.5)
    assert world.reads == 50
    await asyncio.sleep(1.0)
    assert (await world.get(plans[-1])).status is CacheStatus.STALE
    await world.reader.close()


@pytest.mark.parametrize("error", [BROKEN, DeadlineExceeded("too late")])
@pytest.mark.parametrize("limits", [{}, {"max_scanned_items": 50}])
@warped
async def test_a_stale_page_is_better_than_an_error(
    error: Exception, limits: dict[str, Any]
) -> None:
    """Only if there is one; as long as DynamoDB answers, it is asked."""
    world = await expired(IF_ERROR)
    world.error = error
    page = await world.get(IF_ERROR, **limits)
    assert (page.status, value(page)) == (CacheStatus.STALE, 0)
    world.error = None
    page = await world.get(IF_ERROR, **limits)
    assert (page.status, value(page)) == (CacheStatus.MISS, 99)


@pytest.mark.parametrize(
    ("seconds", "cache"),
    [(600.0, CachePolicy()), (1.0, REFRESH), (1.0, CachePolicy(max_staleness=TTL))],
    ids=["too old", "refresh", "too stale for the caller"],
)
@warped
async def test_an_error_is_better_than_some_pages(seconds: float, cache: CachePolicy) -> None:
    """Past the table's limit, past the caller's, and for who wants none that is cached."""
    world = await expired(IF_ERROR, seconds)
    world.error = BROKEN
    with pytest.raises(BackendUnavailable):
        await world.get(IF_ERROR, cache=cache)


@pytest.mark.parametrize("plan", [WHILE, IF_ERROR], ids=["while revalidating", "if error"])
@warped
async def test_what_an_invalidation_ended_is_never_served(plan: Any) -> None:
    """Not stale, not instead of an error."""
    world = await expired(plan)
    invalidate(world)
    world.error = BROKEN
    with pytest.raises(BackendUnavailable):
        await world.get(plan)


@warped
async def test_an_invalidation_ends_what_waits_for_an_error() -> None:
    """The page was still good when the read began, and is not any more when it fails."""
    world = await expired(IF_ERROR)
    world.seconds, world.error = 1.0, BROKEN
    reading = asyncio.create_task(world.get(IF_ERROR))
    await asyncio.sleep(0.5)
    invalidate(world)
    with pytest.raises(BackendUnavailable):
        await reading


@warped
async def test_by_default_nothing_is_served_stale() -> None:
    """Both are the table's to allow."""
    world = await expired(make_plan(), 0.0)
    world.error = BROKEN
    with pytest.raises(BackendUnavailable):
        await world.get()


@pytest.mark.parametrize("plan", [make_plan(), WHILE, IF_ERROR])
@warped
async def test_nothing_is_kept_past_an_items_time_to_live(plan: Any) -> None:
    """Whatever the table's own times."""
    world = World()
    world.valid_until = world.now + 40.0
    assert (await world.get(plan)).expires_in == 40.0
    world.now += 39.0
    assert (await world.get(plan)).status is CacheStatus.HIT
    world.now += 1.0
    page = await world.get(plan)
    assert (page.status, page.expires_in) == (CacheStatus.MISS, None), "its time is over"
    assert world.reads == 2
