"""The caching reader under a bound on freshness: pages show every write before it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_processor_server.errors import BackendUnavailable, PreconditionFailed
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    START,
    CacheMode,
    CachePolicy,
    CacheStatus,
    page_key,
)
from tests.support.warped_time import warped
from tests.unit.cache.cached_table import PLAN, TTL, CachedTable, invalidate, value, write
from tests.unit.dynamodb.small_table import make_plan

HIT, MISS, COALESCED = CacheStatus.HIT, CacheStatus.MISS, CacheStatus.COALESCED


def since(moment: float, **fields: Any) -> CachePolicy:
    """Return the policy of a caller who must see every write before a moment."""
    return CachePolicy(not_before=moment, **fields)


@warped
async def test_an_older_page_is_read_again_consistently() -> None:
    """An eventual read may lack a write of the last two seconds; the page then serves others."""
    cached = CachedTable()
    await cached.get()
    cached.now += 10.0
    write(cached)
    page = await cached.get(cache=since(cached.now))
    assert (page.status, value(page)) == (MISS, 99)
    assert cached.strong == [False, True]
    assert (await cached.get(cache=since(cached.now))).status is HIT
    assert (await cached.get()).status is HIT


@warped
async def test_an_eventual_read_is_enough_for_an_older_bound() -> None:
    """It shows every write of more than two seconds ago, at half of the price."""
    cached = CachedTable()
    bound = cached.now
    cached.now += 2.0
    assert (await cached.get(cache=since(bound))).status is MISS
    assert (await cached.get(cache=since(bound))).status is HIT
    assert (await cached.get(cache=since(bound + 0.25))).status is MISS
    assert cached.strong == [False, True]


@warped
async def test_an_eventual_page_shows_what_was_written_two_seconds_before() -> None:
    """A bound up to there is met by the stored page, and no later one."""
    cached = CachedTable()
    await cached.get()
    read_at = cached.now
    cached.now += 5.0
    assert (await cached.get(cache=since(read_at - 2.0))).status is HIT
    assert (await cached.get(cache=since(read_at - 1.9))).status is MISS


@warped
async def test_a_page_that_the_caller_has_seen_is_served_again() -> None:
    """Its digest is that of the page; after another read it is another one."""
    cached = CachedTable()
    seen = (await cached.get()).content
    cached.now += 1.0
    policy = since(seen.read_until, seen=seen.digest)
    assert (await cached.get(cache=policy)).status is HIT
    assert (await cached.get(cache=replace(policy, seen=bytes(16) + seen.digest))).status is HIT
    assert (await cached.get(cache=replace(policy, seen_from=seen.read_at))).status is MISS
    again = await cached.get(cache=policy)
    assert again.status is HIT, "a later read shows what the earlier one did"
    assert again.content.digest != seen.digest


@pytest.mark.parametrize("seen", [b"", bytes(32), b"x" * 32])
@warped
async def test_another_page_is_not_taken_for_a_seen_one(seen: bytes) -> None:
    """Digests of other pages, and none at all, let no page through."""
    cached = CachedTable()
    await cached.get()
    cached.now += 1.0
    assert (await cached.get(cache=since(cached.now, seen=seen))).status is MISS


@warped
async def test_a_followed_stream_lets_older_pages_be_served() -> None:
    """Writes before that time have been dealt with: pages that are stored still show them."""
    cached = CachedTable()
    await cached.get()
    cached.now += 100.0
    cached.followed_until = cached.now - 1.0
    assert (await cached.get(cache=since(cached.now - 1.0))).status is HIT
    assert (await cached.get(cache=since(cached.now - 0.9))).status is MISS
    invalidate(cached)
    assert (await cached.get(cache=since(cached.now - 1.0))).status is MISS


@warped
async def test_a_page_is_found_without_its_plan() -> None:
    """The look-up of a hit knows no plan, so it finds pages that show the writes by themselves."""
    cached = CachedTable()
    page = await cached.get()
    cached.followed_until = cached.now + 5.0
    cached.now += 10.0
    key, shown = page_key(PLAN, START, 10), page.content.shows_until
    assert cached.reader.cached_page(key, since(shown)) is not None
    assert cached.reader.cached_page(key, since(shown + 0.1)) is None


@warped
async def test_only_if_cached_refuses_older_pages() -> None:
    """The call fails as it does for a page that is not cached."""
    cached = CachedTable()
    await cached.get()
    cached.now += 1.0
    only = since(cached.now, mode=CacheMode.ONLY_IF_CACHED)
    with pytest.raises(PreconditionFailed, match="not cached"):
        await cached.get(cache=only)
    await cached.get(cache=since(cached.now))
    assert (await cached.get(cache=only)).status is HIT


@pytest.mark.parametrize(
    ("plan", "policy"),
    [
        (PLAN, since(1_000.0, mode=CacheMode.BYPASS)),
        (PLAN, since(1_000.0, mode=CacheMode.REFRESH)),
        (make_plan(cache_ttl=0), since(1_000.0)),
        (make_plan("", allow_scan=True), since(1_000.0)),
    ],
    ids=["bypass", "refresh", "no caching", "scan"],
)
@warped
async def test_every_read_shows_the_writes(plan: Plan, policy: CachePolicy) -> None:
    """Reads past the cache, and scans, are consistent too while the bound asks for it."""
    cached = CachedTable()
    await cached.get(plan, cache=policy)
    cached.now += 2.0
    await cached.get(plan, cache=replace(policy, mode=CacheMode.BYPASS))
    assert cached.strong == [True, False]


@warped
async def test_a_read_under_a_budget_shows_the_writes() -> None:
    """The caller asks for both, and pays for the consistent read from the budget."""
    cached = CachedTable()
    await cached.get(cache=since(cached.now), max_scanned_items=50)
    assert cached.strong == [True]


@warped
async def test_global_indexes_are_read_eventually() -> None:
    """DynamoDB offers no more: the page shows the writes of ten seconds before it."""
    plan = make_plan("level = 'low'")
    cached = CachedTable()
    bound = cached.now
    first = await cached.get(plan, cache=since(bound))
    assert (await cached.get(plan, cache=since(bound))).status is MISS
    assert cached.strong == [False, False]
    assert first.content.shows_until == bound - 10.0
    cached.now += 10.0
    await cached.get(plan, cache=since(bound))
    assert (await cached.get(plan, cache=since(bound))).status is HIT


@warped
async def test_expired_pages_obey_the_bound() -> None:
    """A page is not served as stale, while it is read again or after an error, if it is too old."""
    plan = make_plan(stale_while_revalidate=60.0, stale_if_error=60.0)
    cached = CachedTable()
    shown = (await cached.get(plan)).content.shows_until
    cached.now += TTL + 1.0
    assert (await cached.get(plan, cache=since(shown))).status is CacheStatus.STALE
    await asyncio.sleep(0)
    await cached.reader.close()
    cached.error = BackendUnavailable("broken")
    with pytest.raises(BackendUnavailable):
        await cached.get(plan, cache=since(cached.now))


@warped
async def test_a_read_under_way_is_joined_if_it_shows_enough() -> None:
    """It is one of a caller with a bound that began at that bound or later."""
    cached = CachedTable()
    cached.seconds = 1.0
    plain = asyncio.create_task(cached.get())
    await asyncio.sleep(0)
    cached.now += 10.0
    bounded = [asyncio.create_task(cached.get(cache=since(cached.now - n))) for n in (0.0, 0.5)]
    await asyncio.sleep(0.5)
    cached.now += 0.5
    later = asyncio.create_task(cached.get(cache=since(cached.now)))
    pages = [await page for page in (plain, *bounded, later)]
    assert [page.status for page in pages] == [MISS, MISS, COALESCED, MISS]
    assert cached.strong == [False, True, True]


@warped
async def test_every_page_of_a_stream_shows_the_writes() -> None:
    """Pages that follow are read as late, and items read ahead for them were read in this call."""
    cached = CachedTable()
    cached.reads_ahead = True
    policy = since(cached.now)
    first = await cached.get(cache=policy, reads_on=True)
    assert first.content.next is not None
    await cached.get(
        at=first.content.next, cache=policy, reads_on=True, read_ahead=first.read_ahead
    )
    assert cached.strong == [True, True]
