"""The caching Reader when tables are written to: nothing older than an invalidation is served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.caching.tags import tags_of_partitions, tags_of_table
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.query.plan import Plan
from dynamodb_processor_server.query.values import Value
from dynamodb_processor_server.reading.port import CacheStatus, Page, Surplus
from tests.support.fake_reader import items_of
from tests.unit.caching.world import ONLY, REFRESH, World
from tests.unit.reading.questions import make_limits, make_plan
from tests.unit.reading.warped_time import warped

TABLE = make_plan().table
OTHERS = make_plan("device = 'e'")
BY_LEVEL = make_plan("level = 'low'")
SCAN = make_plan("", allow_scan=True)


def write(world: World, number: int = 99) -> None:
    """Change the first item, which is device d's and low."""
    world.table.items[0] |= {"value": {"N": str(number)}, "level": {"S": "low"}}


def invalidate(world: World, device: str = "d") -> None:
    """Say that a device was written to."""
    key = (Value("S", device),)
    world.generations.move(tags_of_partitions("readings", [(TABLE.schema.base, key)]))


def value(page: Page) -> int:
    """Return what the first item of a page says."""
    return int(items_of(page)[0]["value"]["N"])


@warped
async def test_after_an_invalidation_nothing_older_is_served() -> None:
    """To nobody, whatever they accept."""
    world = World()
    assert value(await world.get()) == 0
    write(world)
    assert value(await world.get()) == 0, "nobody has said anything yet"
    invalidate(world)
    with pytest.raises(PreconditionFailed):
        await world.get(cache=ONLY)
    page = await world.get()
    assert (page.status, value(page)) == (CacheStatus.MISS, 99)


@warped
async def test_other_partitions_stay_cached() -> None:
    """Those of the same table; a scan is of all of them."""
    world = World()
    for plan in (OTHERS, SCAN):
        await world.get(plan)
    invalidate(world)
    assert (await world.get(OTHERS)).status is CacheStatus.HIT
    assert (await world.get(SCAN)).status is CacheStatus.MISS


@warped
async def test_a_whole_table_ends_every_page() -> None:
    """Of that table."""
    world = World()
    for plan in (OTHERS, SCAN, BY_LEVEL):
        await world.get(plan)
    world.generations.move(tags_of_table("another"))
    assert (await world.get(OTHERS)).status is CacheStatus.HIT
    world.generations.move(tags_of_table("readings"))
    for plan in (OTHERS, SCAN, BY_LEVEL):
        assert (await world.get(plan)).status is CacheStatus.MISS


@pytest.mark.parametrize("limits", [{}, {"cache": REFRESH}, {"max_scanned_items": 50}])
@warped
async def test_a_read_under_way_is_not_stored(limits: dict[str, Any]) -> None:
    """It may have seen what was there before; its own caller, who asked before, gets it."""
    world = World()
    world.seconds = 1.0
    early = asyncio.create_task(world.get(**limits))
    await asyncio.sleep(0.5)
    write(world)
    invalidate(world)
    page = await early
    assert (value(page), page.expires_in) == (0, None)
    world.now += 60.0
    assert value(await world.get()) == 99
    assert len(world.store) == 1


@warped
async def test_a_flight_from_before_is_not_joined() -> None:
    """Who asks after an invalidation gets what is read after it."""
    world = World()
    world.seconds = 1.0
    early = asyncio.create_task(world.get())
    await asyncio.sleep(0.5)
    write(world)
    invalidate(world)
    late = [asyncio.create_task(world.get()) for _ in range(10)]
    assert value(await early) == 0
    assert [value(await page) for page in late] == [99] * 10
    assert world.reads == 2


@pytest.mark.parametrize(
    ("plan", "seconds"), [(make_plan(), 2.0), (BY_LEVEL, 10.0)], ids=["table", "index"]
)
@warped
async def test_for_a_moment_nothing_is_stored(plan: Plan, seconds: float) -> None:
    """An eventually consistent read may still show what was there before the write."""
    world = World()
    invalidate(world)
    world.generations.move(tags_of_table("readings"))
    for moment in (0.0, seconds - 0.01):
        world.now = 1_000.0 + moment
        page = await world.get(plan)
        assert (page.status, page.expires_in) == (CacheStatus.MISS, None)
    world.now = 1_000.0 + seconds
    assert (await world.get(plan)).expires_in is not None
    assert (await world.get(plan)).status is CacheStatus.HIT


@warped
async def test_a_flight_of_the_quarantine_is_not_joined_after_it() -> None:
    """What it shows may be older than what anybody else would get by then."""
    world = World()
    world.seconds = 5.0
    invalidate(world)
    first = asyncio.create_task(world.get())
    await asyncio.sleep(1.0)
    second = asyncio.create_task(world.get())
    await asyncio.sleep(1.0)
    world.now += 2.0
    third = asyncio.create_task(world.get())
    statuses = [(await page).status for page in (first, second, third)]
    assert statuses == [CacheStatus.MISS, CacheStatus.COALESCED, CacheStatus.MISS]
    assert world.reads == 2


@pytest.mark.parametrize("limits", [{}, {"max_scanned_items": 500}])
@warped
async def test_what_a_call_has_read_in_advance_ends_too(limits: dict[str, Any]) -> None:
    """The next page of a stream is made of it only if nothing has been written to it."""
    world = World()
    surplus = Surplus()

    async def turn(at: bytes = b"") -> Page:
        own = make_limits(surplus=surplus, **limits)
        page = await world.reader.fetch_page(make_plan(), at, own)
        assert surplus.read_under is not None
        surplus.position, surplus.fetched = page.content.next, "read in advance"
        return page

    page = await turn()
    await turn(page.content.next or b"")
    invalidate(world)
    await turn(page.content.next or b"")
    assert world.in_advance == [None, "read in advance", None]


@warped
async def test_a_flight_that_outlasts_its_call_leaves_it_nothing() -> None:
    """What it reads in advance belongs to a page that the call never got."""
    world = World()
    world.seconds = 5.0
    surplus = Surplus(fetched="read before")
    early = asyncio.create_task(world.get(surplus=surplus, seconds=1.0))
    await asyncio.sleep(0)
    other = asyncio.create_task(world.get())
    await asyncio.gather(early, return_exceptions=True)
    assert surplus.fetched is None
    assert (await other).status is CacheStatus.COALESCED
    assert surplus == Surplus()


@warped
async def test_a_thousand_misses_make_one_read_whoever_leaves() -> None:
    """Any of those who wait may be cancelled, the one who began it included."""
    world = World()
    world.seconds = 1.0
    callers = [asyncio.create_task(world.get()) for _ in range(1_000)]
    await asyncio.sleep(0.5)
    leavers = callers[::7]
    for caller in leavers:
        caller.cancel()
    pages = await asyncio.gather(*callers, return_exceptions=True)
    assert world.reads == 1
    assert sum(isinstance(page, asyncio.CancelledError) for page in pages) == len(leavers)
    assert sum(isinstance(page, Page) for page in pages) == 1_000 - len(leavers)
