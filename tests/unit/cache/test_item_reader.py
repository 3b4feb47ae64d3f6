"""The caching reader of items: the items answered from the store, and the items stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from dynamodb_processor_server.batch_reader import CachedItems
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.reader import NO_USAGE, CacheMode, CachePolicy, CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import TABLE, TTL, ItemTable, replicated, values
from tests.unit.dynamodb.small_table import SCHEMA
from tests.unit.query.tables import make_table

BYPASS, REFRESH, ONLY = (
    CachePolicy(mode) for mode in (CacheMode.BYPASS, CacheMode.REFRESH, CacheMode.ONLY_IF_CACHED)
)


@warped
async def test_an_item_is_read_once() -> None:
    """A miss has its cost and its time to live, a hit the age of its oldest item."""
    table = ItemTable()
    miss = await table.get(1, 2)
    assert miss.status is CacheStatus.MISS
    assert (miss.usage.items_scanned, miss.age, miss.expires_in) == (2, 0.0, TTL)
    table.now += 40.0
    await table.get(3)
    table.now += 2.0
    hit = await table.get(3, 1)
    assert hit.status is CacheStatus.HIT
    assert hit.usage == NO_USAGE
    assert (hit.read_at, hit.age, hit.expires_in) == (1_000.0, 42.0, TTL - 42.0)
    assert values(hit) == {0: 30, 1: 10}
    assert table.requests == [[1, 2], [3]]


@warped
async def test_only_what_is_missing_is_read() -> None:
    """Of a batch that is cached in part, the other items are read, and the oldest decides."""
    table = ItemTable()
    await table.get(1, 2)
    table.now += 10.0
    mixed = await table.get(2, 5, 1)
    assert mixed.status is CacheStatus.MISS
    assert (mixed.read_at, mixed.age, mixed.expires_in) == (1_000.0, 10.0, TTL - 10.0)
    assert values(mixed) == {0: 20, 1: 50, 2: 10}
    assert table.requests == [[1, 2], [5]]


@warped
async def test_absence_is_cached() -> None:
    """An item that does not exist is not asked for again."""
    table = ItemTable()
    for _ in range(2):
        assert values(await table.get(77)) == {0: None}
    assert table.reads == 1


@warped
async def test_an_item_is_read_again_when_its_time_is_over() -> None:
    """The lifetime begins with the read, and is up to a twentieth shorter than the table's."""
    table = ItemTable()
    await table.get(1)
    table.now += TTL - 1
    assert (await table.get(1)).status is CacheStatus.HIT
    table.now += 1
    assert (await table.get(1)).status is CacheStatus.MISS
    jittered = await ItemTable(jitter=1.0).get(1)
    assert jittered.expires_in == pytest.approx(TTL * 0.95)


@warped
async def test_an_item_leaves_the_cache_at_its_time_to_live() -> None:
    """It is read with its time to live, also where the caller did not select that."""
    schema = make_table(SCHEMA, time_to_live="until")
    table = ItemTable(table=schema)
    table.items[1] = {**table.items[1], "until": {"N": "1100"}}
    for projection in ([], ["value"]):
        found = await table.get(1, projection=projection)
        assert found.expires_in == pytest.approx(100.0)
    table.now += 101.0
    late = await table.get(1)
    assert (late.status, late.expires_in) == (CacheStatus.MISS, None)


@warped
async def test_the_policy_of_a_caller_is_obeyed() -> None:
    """BYPASS neither looks up nor stores, REFRESH stores, ONLY_IF_CACHED reads nothing."""
    table = ItemTable()
    assert (await table.get(1, cache=BYPASS)).status is CacheStatus.BYPASSED
    with pytest.raises(PreconditionFailed, match="not cached"):
        await table.get(1, cache=ONLY)
    await table.get(1)
    table.write(1, 99)
    table.now += 10.0
    assert values(await table.get(1, cache=ONLY)) == {0: 10}
    with pytest.raises(PreconditionFailed):
        await table.get(1, 2, cache=ONLY)
    assert values(await table.get(1, cache=CachePolicy(max_staleness=10.0))) == {0: 10}
    assert values(await table.get(1, cache=CachePolicy(max_staleness=9.0))) == {0: 99}
    table.write(1, 98)
    assert values(await table.get(1, cache=BYPASS)) == {0: 98}
    assert values(await table.get(1)) == {0: 99}
    refreshed = await table.get(1, cache=REFRESH)
    assert (values(refreshed), refreshed.status) == ({0: 98}, CacheStatus.MISS)
    assert values(await table.get(1)) == {0: 98}


@warped
async def test_consistent_reads_and_uncached_tables_bypass_the_cache() -> None:
    """Nothing is looked up or stored for them, and ONLY_IF_CACHED fails."""
    table = ItemTable()
    await table.get(1)
    assert (await table.get(1, consistent=True)).status is CacheStatus.BYPASSED
    uncached = ItemTable(table=make_table(SCHEMA, cache_ttl=0))
    for _ in range(2):
        assert (await uncached.get(1)).status is CacheStatus.BYPASSED
    for case in (table, uncached):
        with pytest.raises(PreconditionFailed):
            await case.get(1, consistent=True, cache=ONLY)


@warped
async def test_projections_are_cached_apart() -> None:
    """Another part of an item is another entry; the message is that of the part."""
    table = ItemTable()
    whole = await table.get(1)
    part = await table.get(1, projection=["value"])
    assert table.reads == 2
    assert 0 < len(part.messages[0]) < len(whole.messages[0])
    again = await table.get(1, projection=["value"])
    assert (again.status, again.messages) == (CacheStatus.HIT, part.messages)


@warped
async def test_the_look_up_returns_messages_without_a_read() -> None:
    """It finds what a read would return at once, and nothing for REFRESH and BYPASS."""
    table = ItemTable()
    request = table.request([1, 77, 2])
    assert table.reader.cached_items(request, CachePolicy()) == CachedItems({})
    read = await table.get(1, 77)
    table.now += 5.0
    found = table.reader.cached_items(request, ONLY)
    assert found.messages == {0: read.messages[0], 1: None}
    assert (found.read_at, found.age, found.expires_in) == (1_000.0, 5.0, TTL - 5.0)
    for policy in (BYPASS, REFRESH, CachePolicy(max_staleness=4.0)):
        assert not table.reader.cached_items(request, policy).messages


@warped
async def test_lookups_are_counted() -> None:
    """Hits and misses are counted for each key, and items apart from pages."""
    table = ItemTable()
    await table.get(1, 2)
    await table.get(2, 3)
    table.reader.cached_items(table.request([1, 9]), CachePolicy())
    stats = table.store.stats("readings")
    assert (stats.item_hits, stats.item_misses) == (2, 3)
    assert (stats.items, stats.pages, stats.hits, stats.misses) == (3, 0, 0, 0)
    assert stats.bytes == table.store.bytes_used > 0


@warped
@pytest.mark.parametrize("method", ["invalidate", "invalidate_index", "invalidate_table"])
async def test_invalidations_end_items(method: str) -> None:
    """A partition's items end with it; all where only a partition of an index is known."""
    table = ItemTable()
    await table.get(1)
    table.write(1, 99)
    assert values(await table.get(1)) == {0: 10}
    getattr(table, method)()
    assert values(await table.get(1)) == {0: 99}
    assert (await table.get(1)).status is CacheStatus.HIT


@warped
async def test_items_of_another_partition_stay() -> None:
    """The items of a partition do not end with another partition."""
    table = ItemTable()
    await table.get(1)
    table.invalidate("other")
    assert (await table.get(1)).status is CacheStatus.HIT


@warped
async def test_a_read_that_began_before_an_invalidation_is_not_stored() -> None:
    """Its data may be from before the write."""
    table = ItemTable()
    table.seconds = 1.0
    reading = asyncio.create_task(table.get(1))
    await asyncio.sleep(0.5)
    table.write(1, 99)
    table.invalidate()
    late = await reading
    assert (values(late), late.expires_in) == ({0: 10}, None)
    assert values(await table.get(1)) == {0: 99}


@warped
async def test_quarantine_reads_consistently() -> None:
    """For two seconds after an invalidation, only the items that it may concern are read so."""
    table = ItemTable()
    table.invalidate()
    table.now += 1.9
    found = await table.get(1)
    assert table.consistent == [True]
    assert found.expires_in == pytest.approx(TTL)
    assert (await table.get(1)).status is CacheStatus.HIT
    table.now += 0.1
    await table.get(2)
    assert table.consistent == [True, False]


@warped
async def test_quarantine_of_replicated_tables_stores_nothing() -> None:
    """A consistent read does not show writes in other regions."""
    table = ItemTable(table=replicated())
    table.invalidate()
    for _ in range(2):
        found = await table.get(1)
        assert (found.status, found.expires_in) == (CacheStatus.MISS, None)
    assert table.consistent == [False, False]
    table.now += 2.0
    assert (await table.get(1)).expires_in == TTL


@warped
async def test_a_bounded_get_of_a_replicated_table_claims_no_more_than_an_eventual_one() -> None:
    """It reads consistently, which does not show writes in other regions: as if eventual."""
    table = ItemTable(table=replicated())
    table.invalidate()
    bound = CachePolicy(not_before=table.now)
    found = await table.get(1, cache=bound)
    assert table.consistent == [True]
    assert (found.status, found.expires_in) == (CacheStatus.MISS, None)
    table.now += 2.0
    assert (await table.get(1, cache=bound)).expires_in == TTL
    assert (await table.get(1, cache=CachePolicy(not_before=table.now - 2.0))).status is (
        CacheStatus.HIT
    )
    assert (await table.get(1, cache=CachePolicy(not_before=table.now - 1.0))).status is (
        CacheStatus.MISS
    )


@warped
async def test_nothing_is_served_while_invalidations_are_late() -> None:
    """An item may have been invalidated by another replica."""
    table = ItemTable()
    await table.get(1)
    table.others.may_serve_local = False
    assert (await table.get(1)).status is CacheStatus.MISS
    table.others.may_serve_local = True
    assert (await table.get(1)).status is CacheStatus.HIT


@warped
async def test_row_rules_are_evaluated_for_each_caller() -> None:
    """Callers share the cached item; one whose rule hides it gets none."""
    table = ItemTable()
    await table.get(1, 3)
    low = await table.get(1, 3, 77, rule="level = 'low'")
    assert values(low) == {0: 10, 1: None, 2: None}
    high = await table.get(1, 3, rule="level = 'high'")
    assert (values(high), high.status) == ({0: None, 1: 30}, CacheStatus.HIT)
    assert table.requests == [[1, 3], [77]]
    request = table.request([1, 3], rule="level = 'low'")
    found = table.reader.cached_items(request, CachePolicy()).messages
    assert found == {0: low.messages[0], 1: None}


@warped
async def test_a_key_that_a_rule_hides_is_not_read() -> None:
    """The rule on the key decides before the read, as without a cache."""
    table = ItemTable()
    hidden = await table.get(1, 2, rule="seq > 1")
    assert values(hidden) == {0: None, 1: 20}
    assert table.requests == [[2]]


@warped
async def test_a_rule_sees_attributes_that_the_caller_did_not_select() -> None:
    """The stored item is kept beside the message for callers."""
    table = ItemTable()
    for _ in range(2):
        found = await table.get(1, 3, projection=["value"], rule="level = 'low'")
        assert values(found) == {0: 10, 1: None}
        assert b"level" not in found.messages[0]
    assert table.reads == 2


@warped
async def test_items_without_an_exact_message_are_not_cached() -> None:
    """Half of a surrogate pair is sent in another form, in which rules could not be evaluated."""
    table = ItemTable()
    table.items[1] = {**table.items[1], "text": {"S": "\ud83d"}}
    for _ in range(2):
        found = await table.get(1)
        assert (found.status, found.expires_in, found.messages) == (CacheStatus.MISS, None, {})
    assert table.reads == 2


@warped
async def test_catalog_names_of_one_table_share_no_items() -> None:
    """Their lifetimes may differ; an invalidation reaches the items of both."""
    table = ItemTable()
    await table.get(1)
    table.table = replace(TABLE, name="other")
    assert (await table.get(1)).status is CacheStatus.MISS
    table.table = TABLE
    table.invalidate()
    for named in (TABLE, replace(TABLE, name="other")):
        table.table = named
        assert (await table.get(1)).status is CacheStatus.MISS


@warped
async def test_every_type_of_value_survives() -> None:
    """A cached item is the same as the one that was read."""
    nested: dict[str, Any] = {"M": {"l": {"L": [{"N": "1"}, {"NULL": True}]}, "b": {"B": b"\0"}}}
    every: dict[str, Any] = {
        "t": {"BOOL": False},
        "ss": {"SS": ["a"]},
        "ns": {"NS": ["1"]},
        "bs": {"BS": [b"x"]},
    }
    table = ItemTable()
    table.items[1] = {**table.items[1], "nested": nested, **every}
    first = await table.get(1)
    second = await table.get(1)
    assert second.status is CacheStatus.HIT
    assert first.items == second.items == {0: table.items[1]}
