"""The caching Reader: which pages are answered from the store, which are kept."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_processor_server.errors import (
    BackendUnavailable,
    PreconditionFailed,
)
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CachePolicy,
    CacheStatus,
    PageEnd,
)
from tests.support.fake_reader import items_of
from tests.support.warped_time import warped
from tests.unit.cache.world import BYPASS, ONLY, REFRESH, TTL, World
from tests.unit.dynamodb.small_table import make_plan


@warped
async def test_a_page_is_read_once() -> None:
    """A miss says what it took and how long it will stay, a hit how old it is."""
    world = World()
    miss = await world.get()
    assert miss.status is CacheStatus.MISS
    assert miss.usage.items_scanned == 10
    assert miss.age == 0.0
    assert miss.expires_in == TTL
    world.now += 40.0
    hit = await world.get()
    assert hit.status is CacheStatus.HIT
    assert hit.content is miss.content
    assert hit.usage == NO_USAGE
    assert hit.age == 40.0
    assert hit.expires_in == TTL - 40.0
    assert world.reads == 1


@warped
async def test_a_page_is_read_again_when_its_time_is_over() -> None:
    """Five minutes after it was read, not after it was stored."""
    world = World()
    await world.get()
    world.now += TTL - 1
    assert (await world.get()).status is CacheStatus.HIT
    world.now += 1
    assert (await world.get()).status is CacheStatus.MISS
    assert world.reads == 2


@warped
async def test_lifetimes_jitter() -> None:
    """By up to a twentieth, downwards, so that pages do not expire all at once."""
    assert (await World(jitter=1.0).get()).expires_in == pytest.approx(TTL * 0.95)
    assert (await World(jitter=0.5).get()).expires_in == pytest.approx(TTL * 0.975)


@warped
async def test_pages_are_told_apart() -> None:
    """By what is read, where and how much; not by how it was asked for."""
    world = World()
    first = await world.get()
    assert (await world.get(at=first.content.next or b"")).status is CacheStatus.MISS
    assert (await world.get(page_size=11)).status is CacheStatus.MISS
    assert (await world.get(make_plan("device = 'e'"))).status is CacheStatus.MISS
    assert (await world.get(make_plan("'d' = device", index="@table"))).status is CacheStatus.HIT


@warped
async def test_empty_pages_are_kept_and_errors_are_not() -> None:
    """Nothing is an answer; a failure is none."""
    world = World()
    nothing = make_plan("device = 'nobody'")
    assert (await world.get(nothing)).content.count == 0
    assert (await world.get(nothing)).status is CacheStatus.HIT
    world.error = BackendUnavailable("broken")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="broken"):
            await world.get()
    assert world.reads == 3
    world.error = None
    assert (await world.get()).status is CacheStatus.MISS


@warped
async def test_bypass_neither_looks_nor_stores() -> None:
    """Whatever is cached."""
    world = World()
    for _ in range(2):
        page = await world.get(cache=BYPASS)
        assert page.status is CacheStatus.BYPASSED
        assert page.expires_in is None
    assert len(world.store) == 0
    await world.get()
    assert (await world.get(cache=BYPASS)).status is CacheStatus.BYPASSED
    assert world.reads == 4


@pytest.mark.parametrize("plan", [make_plan(consistent=True), make_plan(cache_ttl=0)])
@warped
async def test_strong_reads_and_tables_without_a_lifetime_bypass(plan: Plan) -> None:
    """As if it had been asked for; nothing of them is ever cached."""
    world = World()
    for policy in (CachePolicy(), REFRESH, BYPASS):
        assert (await world.get(plan, cache=policy)).status is CacheStatus.BYPASSED
    assert world.reads == 3
    assert len(world.store) == 0
    with pytest.raises(PreconditionFailed):
        await world.get(plan, cache=ONLY)


@warped
async def test_refresh_reads_and_stores() -> None:
    """The next one who asks gets what was refreshed."""
    world = World()
    await world.get()
    world.table.items[0]["value"] = {"N": "99"}
    assert items_of(await world.get())[0]["value"] == {"N": "0"}
    refreshed = await world.get(cache=REFRESH)
    assert refreshed.status is CacheStatus.MISS
    assert refreshed.expires_in == TTL
    assert items_of(await world.get())[0]["value"] == {"N": "99"}
    assert world.reads == 2


@warped
async def test_a_slow_older_read_does_not_undo_a_refresh() -> None:
    """Whoever refreshed never sees older data afterwards."""
    world = World()
    world.seconds = 5.0
    slow = asyncio.create_task(world.get())
    await asyncio.sleep(1.0)
    world.now += 1.0
    world.seconds = 1.0
    world.table.items[0]["value"] = {"N": "99"}
    await world.get(cache=REFRESH)
    assert (await slow).expires_in is None
    assert items_of(await world.get())[0]["value"] == {"N": "99"}


@warped
async def test_only_if_cached_reads_nothing() -> None:
    """What is not there is a failed precondition that says so."""
    world = World()
    with pytest.raises(PreconditionFailed) as caught:
        await world.get(cache=ONLY)
    assert (caught.value.reason, caught.value.subject) == ("NOT_CACHED", "cache.mode")
    assert world.reads == 0
    await world.get()
    assert (await world.get(cache=ONLY)).status is CacheStatus.HIT
    world.now += 10.0
    with pytest.raises(PreconditionFailed):
        await world.get(cache=replace(ONLY, max_staleness=9.0))
    assert world.reads == 1


@warped
async def test_staleness_is_the_callers_choice() -> None:
    """A page too old for one is read anew, and then it is fresh for the others too."""
    world = World()
    await world.get()
    world.now += 30.0
    assert (await world.get(cache=CachePolicy(max_staleness=30.0))).age == 30.0
    assert (await world.get(cache=CachePolicy(max_staleness=29.0))).status is CacheStatus.MISS
    hit = await world.get()
    assert (hit.status, hit.age) == (CacheStatus.HIT, 0.0)
    assert (await world.get(cache=CachePolicy(max_staleness=0.0))).status is CacheStatus.HIT
    world.now += 0.001
    assert (await world.get(cache=CachePolicy(max_staleness=0.0))).status is CacheStatus.MISS


@pytest.mark.parametrize(
    ("limits", "end", "kept"),
    [
        ({"max_scanned_items": 4}, PageEnd.SCAN_BUDGET, False),
        ({"max_read_units": 1.0}, PageEnd.READ_UNIT_BUDGET, False),
        ({"max_duration": 60.0, "soft_deadline": 0.0}, PageEnd.TIME_BUDGET, False),
        ({"max_scanned_items": 400}, PageEnd.PAGE_FULL, True),
        ({"max_read_units": 100.0, "page_size": 50}, PageEnd.EXHAUSTED, True),
    ],
)
@warped
async def test_pages_cut_by_a_budget_are_not_kept(
    limits: dict[str, Any], end: PageEnd, kept: bool
) -> None:
    """Another caller did not ask for them; what is whole anyway is for everyone."""
    world = World()
    page = await world.get(**limits)
    assert page.content.end is end
    assert page.status is CacheStatus.MISS
    assert (page.expires_in is not None) is kept
    assert len(world.store) == int(kept)
    size = limits.get("page_size", 10)
    assert (await world.get(page_size=size)).status is (
        CacheStatus.HIT if kept else CacheStatus.MISS
    )


@warped
async def test_a_budget_is_no_reason_not_to_be_answered_from_the_store() -> None:
    """A hit takes nothing of it."""
    world = World()
    await world.get()
    page = await world.get(max_scanned_items=1, max_read_units=0.5)
    assert page.status is CacheStatus.HIT
    assert page.content.count == 10


@warped
async def test_pages_cut_by_their_bytes_are_kept() -> None:
    """The bound is the server's, so the page is the same for everyone."""
    world = World()
    world.table._max_page_bytes = 200
    page = await world.get()
    assert page.content.end is PageEnd.RESPONSE_BYTES
    assert (await world.get()).status is CacheStatus.HIT


@warped
async def test_a_page_too_large_for_the_store_is_only_answered() -> None:
    """And says that it will not be there the next time."""
    world = World(store_bytes=4_000)
    page = await world.get()
    assert (page.status, page.expires_in) == (CacheStatus.MISS, None)
    assert (await world.get()).status is CacheStatus.MISS
