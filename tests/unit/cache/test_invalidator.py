"""The caching Reader when tables are written to: nothing older than an invalidation is served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.errors import DeadlineExceeded, PreconditionFailed
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.tags import tags_of_partitions, tags_of_table
from dynamodb_processor_server.reader import (
    CachePolicy,
    CacheStatus,
    Page,
    ReadAhead,
)
from tests.support.fake_reader import items_of
from tests.support.warped_time import warped
from tests.unit.cache.world import AHEAD, ONLY, REFRESH, TTL, World
from tests.unit.dynamodb.small_table import make_plan

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
    world.generations.invalidate(
        tags_of_partitions(TableIdentity("readings"), [(TABLE.schema.base, key)])
    )


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
    world.generations.invalidate(tags_of_table(TableIdentity("another")))
    assert (await world.get(OTHERS)).status is CacheStatus.HIT
    world.generations.invalidate(tags_of_table(TableIdentity("readings")))
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
    ("plan", "limits", "seconds"),
    [(BY_LEVEL, {}, 10.0), (SCAN, {}, 2.0), (make_plan(), {"max_scanned_items": 500}, 2.0)],
    ids=["index", "scan", "budgeted"],
)
@warped
async def test_for_a_moment_eventual_reads_are_not_stored(
    plan: Plan, limits: dict[str, Any], seconds: float
) -> None:
    """They may still show what was there before the write."""
    world = World()
    world.generations.invalidate(tags_of_table(TableIdentity("readings")))
    for moment in (0.0, seconds - 0.01):
        world.now = 1_000.0 + moment
        page = await world.get(plan, **limits)
        assert (page.status, page.expires_in) == (CacheStatus.MISS, None)
    world.now = 1_000.0 + seconds
    assert (await world.get(plan, **limits)).expires_in is not None
    assert (await world.get(plan, **limits)).status is CacheStatus.HIT
    assert not any(world.strong)


@pytest.mark.parametrize("limits", [{}, {"cache": REFRESH}])
@warped
async def test_in_that_moment_reads_are_strong_and_stored(limits: dict[str, Any]) -> None:
    """Once: they show what was written, and cost no more than a few of those that do not."""
    world = World()
    await world.get()
    invalidate(world)
    page = await world.get(**limits)
    assert (page.status, page.expires_in) == (CacheStatus.MISS, TTL)
    assert (await world.get()).status is CacheStatus.HIT
    world.now += 2.0
    await world.get(cache=REFRESH)
    assert world.strong == [False, True, False]


@warped
async def test_a_flight_of_the_quarantine_is_not_joined_after_it() -> None:
    """What an eventual read shows may be older than what anybody else would get by then."""
    world = World()
    world.seconds = 5.0
    world.generations.invalidate(tags_of_table(TableIdentity("readings")))
    first = asyncio.create_task(world.get(BY_LEVEL))
    await asyncio.sleep(1.0)
    second = asyncio.create_task(world.get(BY_LEVEL))
    await asyncio.sleep(1.0)
    world.now += 10.0
    third = asyncio.create_task(world.get(BY_LEVEL))
    statuses = [(await page).status for page in (first, second, third)]
    assert statuses == [CacheStatus.MISS, CacheStatus.COALESCED, CacheStatus.MISS]
    assert world.reads == 2


@pytest.mark.parametrize("limits", [{}, {"max_scanned_items": 500}])
@warped
async def test_what_a_call_has_read_in_advance_ends_too(limits: dict[str, Any]) -> None:
    """The next page of a stream is made of it only if nothing has been written to it."""
    world = World()
    world.reads_ahead = True

    async def turn(at: bytes = b"", ahead: ReadAhead | None = None) -> Page:
        page = await world.get(at=at, reads_on=True, read_ahead=ahead, **limits)
        assert page.read_ahead is not None
        assert page.read_ahead.snapshot is not None
        return page

    page = await turn()
    second = await turn(page.content.next or b"", page.read_ahead)
    invalidate(world)
    await turn(page.content.next or b"", second.read_ahead)
    assert world.in_advance == [None, AHEAD, None]


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
async def test_what_a_call_has_read_in_advance_grows_old(
    policy: CachePolicy, seconds: float, goes_on: bool
) -> None:
    """A page says that it has just been read."""
    world = World()
    world.reads_ahead = True
    page = await world.get(reads_on=True, cache=policy)
    world.now += seconds
    following, ahead = page.content.next or b"", page.read_ahead
    await world.get(at=following, read_ahead=ahead, reads_on=True, cache=policy)
    assert world.in_advance == [None, AHEAD if goes_on else None]


@warped
async def test_a_call_that_began_in_quarantine_reads_strongly_no_longer_than_it_must() -> None:
    """What it has read in advance by then is read again."""
    world = World()
    world.reads_ahead = True
    invalidate(world)
    page = await world.get(reads_on=True)
    world.now += 2.0
    await world.get(at=page.content.next or b"", read_ahead=page.read_ahead, reads_on=True)
    assert world.in_advance == [None, None]
    assert world.strong == [True, False]


@warped
async def test_a_flight_that_outlasts_its_call_leaves_it_nothing() -> None:
    """What it reads in advance belongs to a page that the call never got."""
    world = World()
    world.seconds = 5.0
    world.reads_ahead = True
    early = asyncio.create_task(world.get(reads_on=True, seconds=1.0))
    await asyncio.sleep(0)
    other = asyncio.create_task(world.get(reads_on=True))
    (failure,) = await asyncio.gather(early, return_exceptions=True)
    assert isinstance(failure, DeadlineExceeded)
    page = await other
    assert (page.status, page.read_ahead) == (CacheStatus.COALESCED, None)


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
