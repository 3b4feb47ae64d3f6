"""Cached items after writes: replaced by the items of stream records, never by older ones."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.cache.item_refresh import RECORD_SKEW
from dynamodb_processor_server.reader import CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import TTL, ItemTable, values
from tests.unit.dynamodb.small_table import SCHEMA
from tests.unit.query.tables import make_table

LATER = 1_000.0 + RECORD_SKEW + 1


@warped
async def test_a_record_replaces_a_cached_item() -> None:
    """The new item is served without a read; its age counts from the record's creation."""
    table = ItemTable()
    await table.get(1, 2)
    table.write(1, 99)
    table.now = LATER + 0.7
    table.refresh(table.change(1, 5, LATER))
    found = await table.get(1, 2)
    assert (found.status, values(found)) == (CacheStatus.HIT, {0: 99, 1: 20})
    table.now += 10.0
    alone = await table.get(1)
    assert alone.read_at == LATER
    assert alone.age == pytest.approx(10.7)
    assert alone.expires_in == pytest.approx(TTL - 10.7)
    assert table.store.stats("readings").item_refreshes == 1
    assert table.reads == 2


@warped
async def test_a_removed_item_is_cached_as_absent() -> None:
    """The record of a removal stores absence, and that of a new item ends it."""
    table = ItemTable()
    await table.get(1)
    table.refresh(table.change(1, 5, LATER, removed=True))
    assert values(await table.get(1)) == {0: None}
    table.refresh(table.change(1, 6, LATER))
    assert values(await table.get(1)) == {0: 10}
    assert table.reads == 1


@warped
async def test_an_older_record_replaces_nothing() -> None:
    """Items of records are ordered by sequence numbers, which are compared as numbers."""
    table = ItemTable()
    await table.get(1)
    table.write(1, 50)
    table.refresh(table.change(1, 10**20, LATER))
    older = table.change(1, 10**20 - 1, LATER + 60)
    table.write(1, 99)
    replayed = [table.change(1, sequence, LATER + 60) for sequence in (9, 10**20)]
    table.refresh(older)
    for change in replayed:
        table.refresh(change)
    found = await table.get(1)
    assert (found.status, values(found)) == (CacheStatus.HIT, {0: 50})
    table.refresh(table.change(1, 10**20 + 1, LATER))
    assert values(await table.get(1)) == {0: 99}
    assert table.reads == 1


@warped
@pytest.mark.parametrize("created", [998.0, 1_000.0, 1_000.0 + RECORD_SKEW])
async def test_an_item_that_was_read_may_be_newer_than_a_record(created: float) -> None:
    """Unless the record was certainly created after the read, the item is read again."""
    table = ItemTable()
    await table.get(1)
    change = table.change(1, 5, created)
    table.write(1, 99)
    table.refresh(change)
    found = await table.get(1)
    assert (found.status, values(found)) == (CacheStatus.MISS, {0: 99})
    assert table.consistent == [False, True]


@warped
async def test_other_items_of_the_partition_stay() -> None:
    """A record ends the entries of its own item only, whatever their projection."""
    table = ItemTable()
    await table.get(1, 2)
    await table.get(1, 2, projection=["value"])
    table.refresh(table.change(1, 5, 999.0))
    assert (await table.get(2)).status is CacheStatus.HIT
    assert (await table.get(2, projection=["value"])).status is CacheStatus.HIT
    assert (await table.get(1)).status is CacheStatus.MISS
    assert (await table.get(1, projection=["value"])).status is CacheStatus.MISS


@warped
async def test_projected_items_are_replaced_by_their_part() -> None:
    """The entry is what a read with the projection returns, nested paths included."""
    table = ItemTable()
    table.items[1] = {**table.items[1], "deep": {"M": {"a": {"L": [{"N": "1"}, {"N": "2"}]}}}}
    projections = (["value"], ["deep.a[1]", "value"], ["seq", "value"])
    for projection in projections:
        await table.get(1, projection=projection)
    table.items[1] = {**table.items[1], "deep": {"M": {"a": {"L": [{"N": "3"}, {"N": "4"}]}}}}
    table.write(1, 99)
    table.refresh(table.change(1, 5, LATER))
    for projection in projections:
        refreshed = await table.get(1, projection=projection)
        assert refreshed.status is CacheStatus.HIT
        read = await ItemTable.get(_copy(table), 1, projection=projection)
        assert (refreshed.items, refreshed.messages) == (read.items, read.messages)


def _copy(table: ItemTable) -> ItemTable:
    """Return a table with the same items, of which nothing is cached."""
    other = ItemTable()
    other.items = table.items
    return other


@warped
async def test_nothing_is_stored_that_nobody_has_read() -> None:
    """A record of an item that is not cached costs no memory."""
    table = ItemTable()
    await table.get(1)
    table.refresh(table.change(2, 5, LATER))
    assert table.store.stats("readings").items == 1


@warped
async def test_an_invalidated_item_is_not_replaced() -> None:
    """The invalidation may be for a later write, of which the record is still to come."""
    table = ItemTable()
    await table.get(1)
    table.write(1, 50)
    older = table.change(1, 5, LATER)
    table.write(1, 99)
    table.invalidate()
    table.refresh(older)
    assert values(await table.get(1)) == {0: 99}


@warped
@pytest.mark.parametrize("method", ["invalidate", "invalidate_table"])
async def test_an_invalidation_in_between_wins(method: str) -> None:
    """With Redis, time passes between the look at the entries and their replacement."""
    table = ItemTable()
    await table.get(1)
    prepared = table.refreshes.prepare(table.table, [table.change(1, 5, LATER)])
    table.generations.invalidate(prepared.tags)
    table.write(1, 99)
    getattr(table, method)()
    table.refreshes.commit(prepared)
    assert values(await table.get(1)) == {0: 99}


@warped
async def test_a_read_in_between_wins() -> None:
    """An item that was read after the tag has moved is not replaced by an older one."""
    table = ItemTable()
    await table.get(1)
    prepared = table.refreshes.prepare(table.table, [table.change(1, 5, LATER)])
    table.generations.invalidate(prepared.tags)
    table.now = LATER + 5
    table.write(1, 99)
    await table.get(1)
    table.refreshes.commit(prepared)
    assert values(await table.get(1)) == {0: 99}


@warped
async def test_a_read_that_a_record_overtakes_is_not_stored() -> None:
    """The read began before the record, so it may lack the write."""
    table = ItemTable()
    table.seconds = 1.0
    reading = asyncio.create_task(table.get(1))
    await asyncio.sleep(0.5)
    table.write(1, 99)
    table.refresh(table.change(1, 5, LATER))
    assert values(await reading) == {0: 10}
    assert values(await table.get(1)) == {0: 99}


@warped
async def test_an_image_that_has_expired_is_absent() -> None:
    """A table that hides expired items hides them in records too."""
    table = ItemTable(table=make_table(SCHEMA, time_to_live="until", hide_expired=True))
    await table.get(1)
    table.items[1] = {**table.items[1], "until": {"N": "1001"}}
    table.now = LATER
    table.refresh(table.change(1, 5, LATER))
    assert values(await table.get(1)) == {0: None}
    table.items[1] = {**table.items[1], "until": {"N": "1100"}}
    table.refresh(table.change(1, 6, LATER))
    found = await table.get(1)
    assert found.expires_in == pytest.approx(1_100.0 - LATER)
    assert table.reads == 1


@warped
async def test_an_image_without_an_exact_message_ends_the_item() -> None:
    """It is read again, as it cannot be cached."""
    table = ItemTable()
    await table.get(1)
    table.items[1] = {**table.items[1], "text": {"S": "\ud83d"}}
    table.refresh(table.change(1, 5, LATER))
    assert (await table.get(1)).status is CacheStatus.MISS
