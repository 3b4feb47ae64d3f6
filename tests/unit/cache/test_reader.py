"""The caching reader: the pages answered from the store, and the pages stored."""

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
    START,
    CachePolicy,
    CacheStatus,
    Page,
    PageEnd,
    page_key,
)
from tests.support.fake_reader import items_of
from tests.support.warped_time import warped
from tests.unit.cache.cached_table import BYPASS, ONLY, PLAN, REFRESH, TTL, CachedTable
from tests.unit.dynamodb.small_table import make_plan


@warped
async def test_a_page_is_read_once() -> None:
    """A miss has its cost and its time to live, a hit its age."""
    cached = CachedTable()
    miss = await cached.get()
    assert miss.status is CacheStatus.MISS
    assert miss.usage.items_scanned == 10
    assert miss.age == 0.0
    assert miss.expires_in == TTL
    cached.now += 40.0
    hit = await cached.get()
    assert hit.status is CacheStatus.HIT
    assert hit.content is miss.content
    assert hit.usage == NO_USAGE
    assert hit.age == 40.0
    assert hit.expires_in == TTL - 40.0
    assert cached.reads == 1


@warped
async def test_a_page_is_read_again_when_its_time_is_over() -> None:
    """The page expires five minutes after it was read, not after it was stored."""
    cached = CachedTable()
    await cached.get()
    cached.now += TTL - 1
    assert (await cached.get()).status is CacheStatus.HIT
    cached.now += 1
    assert (await cached.get()).status is CacheStatus.MISS
    assert cached.reads == 2


@warped
@pytest.mark.parametrize("policy", [CachePolicy(), ONLY, CachePolicy(max_staleness=100.0)])
async def test_a_fresh_page_is_found_without_a_read(policy: CachePolicy) -> None:
    """The look-up returns the page that a read would return at once, and only that."""
    cached = CachedTable()

    def look_up(policy: CachePolicy = policy) -> Page | None:
        return cached.reader.cached_page(page_key(PLAN, START, 10), policy)

    assert look_up() is None
    await cached.get()
    cached.now += 40.0
    assert look_up() == await cached.get(cache=policy)
    for unused in (BYPASS, REFRESH, CachePolicy(max_staleness=39.0)):
        assert look_up(unused) is None
    assert not PLAN.with_consistent_reads().is_cached
    cached.now += TTL
    assert look_up() is None
    assert cached.reads == 1


@warped
async def test_lifetimes_jitter() -> None:
    """Lifetimes are up to a twentieth shorter, so that pages do not expire all at once."""
    assert (await CachedTable(jitter=1.0).get()).expires_in == pytest.approx(TTL * 0.95)
    assert (await CachedTable(jitter=0.5).get()).expires_in == pytest.approx(TTL * 0.975)


@warped
async def test_pages_have_distinct_keys() -> None:
    """Keys differ by range, cursor and size of a read, and not by the spelling of its query."""
    cached = CachedTable()
    first = await cached.get()
    assert (await cached.get(at=first.content.next or b"")).status is CacheStatus.MISS
    assert (await cached.get(page_size=11)).status is CacheStatus.MISS
    assert (await cached.get(make_plan("device = 'e'"))).status is CacheStatus.MISS
    assert (await cached.get(make_plan("'d' = device", index="@table"))).status is CacheStatus.HIT


@warped
async def test_empty_pages_are_kept_and_errors_are_not() -> None:
    """An empty page is an answer; a failure is none."""
    cached = CachedTable()
    nothing = make_plan("device = 'nobody'")
    assert (await cached.get(nothing)).content.count == 0
    assert (await cached.get(nothing)).status is CacheStatus.HIT
    cached.error = BackendUnavailable("broken")
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="broken"):
            await cached.get()
    assert cached.reads == 3
    cached.error = None
    assert (await cached.get()).status is CacheStatus.MISS


@warped
async def test_bypass_neither_looks_up_nor_stores() -> None:
    """BYPASS reads with any page in the store."""
    cached = CachedTable()
    for _ in range(2):
        page = await cached.get(cache=BYPASS)
        assert page.status is CacheStatus.BYPASSED
        assert page.expires_in is None
    assert len(cached.store) == 0
    await cached.get()
    assert (await cached.get(cache=BYPASS)).status is CacheStatus.BYPASSED
    assert cached.reads == 4


@pytest.mark.parametrize("plan", [make_plan(consistent=True), make_plan(cache_ttl=0)])
@warped
async def test_consistent_reads_and_tables_without_a_lifetime_bypass(plan: Plan) -> None:
    """They behave like BYPASS; none of their pages is ever cached."""
    cached = CachedTable()
    for policy in (CachePolicy(), REFRESH, BYPASS):
        assert (await cached.get(plan, cache=policy)).status is CacheStatus.BYPASSED
    assert cached.reads == 3
    assert len(cached.store) == 0
    with pytest.raises(PreconditionFailed):
        await cached.get(plan, cache=ONLY)


@warped
async def test_refresh_reads_and_stores() -> None:
    """The next caller gets the refreshed page."""
    cached = CachedTable()
    await cached.get()
    cached.table.items[0]["value"] = {"N": "99"}
    assert items_of(await cached.get())[0]["value"] == {"N": "0"}
    refreshed = await cached.get(cache=REFRESH)
    assert refreshed.status is CacheStatus.MISS
    assert refreshed.expires_in == TTL
    assert items_of(await cached.get())[0]["value"] == {"N": "99"}
    assert cached.reads == 2


@warped
async def test_a_slow_older_read_does_not_undo_a_refresh() -> None:
    """A caller that refreshed never sees older data afterwards."""
    cached = CachedTable()
    cached.seconds = 5.0
    slow = asyncio.create_task(cached.get())
    await asyncio.sleep(1.0)
    cached.now += 1.0
    cached.seconds = 1.0
    cached.table.items[0]["value"] = {"N": "99"}
    await cached.get(cache=REFRESH)
    assert (await slow).expires_in is None
    assert items_of(await cached.get())[0]["value"] == {"N": "99"}


@warped
async def test_only_if_cached_reads_nothing() -> None:
    """A missing page is FAILED_PRECONDITION with the reason."""
    cached = CachedTable()
    with pytest.raises(PreconditionFailed) as caught:
        await cached.get(cache=ONLY)
    assert (caught.value.reason, caught.value.subject) == ("NOT_CACHED", "cache.mode")
    assert cached.reads == 0
    await cached.get()
    assert (await cached.get(cache=ONLY)).status is CacheStatus.HIT
    cached.now += 10.0
    with pytest.raises(PreconditionFailed):
        await cached.get(cache=replace(ONLY, max_staleness=9.0))
    assert cached.reads == 1


@warped
async def test_staleness_is_the_callers_choice() -> None:
    """A page too old for one caller is read anew, and then it is fresh for the others too."""
    cached = CachedTable()
    await cached.get()
    cached.now += 30.0
    assert (await cached.get(cache=CachePolicy(max_staleness=30.0))).age == 30.0
    assert (await cached.get(cache=CachePolicy(max_staleness=29.0))).status is CacheStatus.MISS
    hit = await cached.get()
    assert (hit.status, hit.age) == (CacheStatus.HIT, 0.0)
    assert (await cached.get(cache=CachePolicy(max_staleness=0.0))).status is CacheStatus.HIT
    cached.now += 0.001
    assert (await cached.get(cache=CachePolicy(max_staleness=0.0))).status is CacheStatus.MISS


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
    """Another caller has another budget; a page that is complete anyway is stored."""
    cached = CachedTable()
    page = await cached.get(**limits)
    assert page.content.end is end
    assert page.status is CacheStatus.MISS
    assert (page.expires_in is not None) is kept
    assert len(cached.store) == int(kept)
    size = limits.get("page_size", 10)
    assert (await cached.get(page_size=size)).status is (
        CacheStatus.HIT if kept else CacheStatus.MISS
    )


@warped
async def test_a_read_with_a_budget_may_hit() -> None:
    """A hit consumes no budget."""
    cached = CachedTable()
    await cached.get()
    page = await cached.get(max_scanned_items=1, max_read_units=0.5)
    assert page.status is CacheStatus.HIT
    assert page.content.count == 10


@warped
async def test_pages_cut_by_their_bytes_are_kept() -> None:
    """The bound is the server's, so the page is the same for all callers."""
    cached = CachedTable()
    cached.table._max_page_bytes = 200
    page = await cached.get()
    assert page.content.end is PageEnd.RESPONSE_BYTES
    assert (await cached.get()).status is CacheStatus.HIT


@warped
async def test_a_page_too_large_for_the_store_is_not_stored() -> None:
    """Its time to live says that it is not stored."""
    cached = CachedTable(store_bytes=4_000)
    page = await cached.get()
    assert (page.status, page.expires_in) == (CacheStatus.MISS, None)
    assert (await cached.get()).status is CacheStatus.MISS
