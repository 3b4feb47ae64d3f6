"""Items for callers who must see every write that was finished before a time."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.cache.item_refresh import RECORD_SKEW
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.reader import CacheMode, CachePolicy, CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import ItemTable, values

_LAG = 2.0  # seconds by which an eventual read may lag


def since(moment: float, mode: CacheMode = CacheMode.DEFAULT) -> CachePolicy:
    """Return the policy of a caller who must see the writes before a time."""
    return CachePolicy(mode, not_before=moment)


@warped
async def test_an_item_that_is_too_old_is_read_consistently() -> None:
    """The item that was read so shows the write, and is cached for the next caller."""
    table = ItemTable()
    await table.get(1, 2)
    table.write(1, 99)
    table.now += 1.0
    found = await table.get(1, cache=since(1_001.0))
    assert (found.status, values(found)) == (CacheStatus.MISS, {0: 99})
    assert table.consistent == [False, True]
    assert (await table.get(1, cache=since(1_001.0))).status is CacheStatus.HIT
    assert (await table.get(2)).status is CacheStatus.HIT


@warped
async def test_an_eventual_read_shows_the_writes_of_some_seconds_ago() -> None:
    """A cached item shows the writes that were finished before it can have lagged."""
    table = ItemTable()
    await table.get(1)
    assert (await table.get(1, cache=since(1_000.0 - _LAG))).status is CacheStatus.HIT
    assert (await table.get(2, cache=since(1_000.0 - _LAG))).status is CacheStatus.MISS
    assert table.consistent == [False, False]
    assert (await table.get(1, cache=since(1_000.1 - _LAG))).status is CacheStatus.MISS
    assert table.consistent == [False, False, True]


@warped
async def test_an_item_of_a_record_may_lack_later_writes() -> None:
    """The records of later writes may be still to come."""
    table = ItemTable()
    await table.get(1)
    later = 1_000.0 + RECORD_SKEW + 1
    table.refresh(table.change(1, 5, later))
    table.now = later
    assert (await table.get(1)).status is CacheStatus.HIT
    table.write(1, 99)
    assert values(await table.get(1, cache=since(later))) == {0: 99}


@warped
async def test_items_show_writes_as_far_as_the_stream_was_followed() -> None:
    """The records of all writes before that time have replaced or ended what was cached."""
    table = ItemTable()
    await table.get(1)
    table.followed = 1_005.0
    assert (await table.get(1, cache=since(1_005.0))).status is CacheStatus.HIT
    assert (await table.get(1, cache=since(1_005.1))).status is CacheStatus.MISS


@warped
@pytest.mark.parametrize("mode", [CacheMode.BYPASS, CacheMode.REFRESH])
async def test_reads_without_the_cache_are_consistent_too(mode: CacheMode) -> None:
    """The bound holds for every mode; ONLY_IF_CACHED fails where nothing is new enough."""
    table = ItemTable()
    await table.get(1)
    await table.get(1, cache=since(1_000.0, mode))
    assert table.consistent == [False, True]
    table.now += 1.0
    with pytest.raises(PreconditionFailed):
        await table.get(1, cache=since(1_001.0, CacheMode.ONLY_IF_CACHED))


@warped
async def test_an_eventual_read_under_way_is_not_joined() -> None:
    """It may lack the write; the others go on sharing it."""
    table = ItemTable()
    table.seconds = 1.0
    reading = asyncio.create_task(table.get(1))
    await asyncio.sleep(0.5)
    table.write(1, 99)
    assert values(await table.get(1, cache=since(1_000.0))) == {0: 99}
    assert values(await reading) == {0: 10}


@warped
async def test_the_look_up_obeys_the_bound() -> None:
    """An item that is too old is not found, alone and among others."""
    table = ItemTable()
    await table.get(1)
    request = table.request([1])
    shape = table.cache.shapes.of(request)
    keys = [shape.key(request.keys[0])]
    for bound, found in ((1_000.0 - _LAG, 1), (1_000.0, 0)):
        assert len(table.reader.cached_items(request, since(bound)).messages) == found
        assert len(table.cache.find_all(shape, keys, since(bound)) or ()) == found


@warped
async def test_a_read_that_began_after_the_bound_is_joined() -> None:
    """It is consistent for its own caller's bound, so it shows the writes of older ones too."""
    table = ItemTable()
    table.seconds = 1.0
    reading = asyncio.create_task(table.get(1, cache=since(1_000.0)))
    await asyncio.sleep(0.5)
    found = await table.get(1, cache=since(999.0))
    assert (found.status, values(found)) == (CacheStatus.COALESCED, {0: 10})
    assert values(await reading) == {0: 10}
    assert table.consistent == [True]


@warped
async def test_an_eventual_read_that_began_late_enough_is_joined() -> None:
    """Whatever it may lack was written after the bound."""
    table = ItemTable()
    table.seconds = 1.0
    reading = asyncio.create_task(table.get(1))
    await asyncio.sleep(0.5)
    assert (await table.get(1, cache=since(1_000.0 - _LAG))).status is CacheStatus.COALESCED
    await reading
    assert table.consistent == [False]


@warped
async def test_a_consistent_read_that_began_before_the_bound_is_not_joined() -> None:
    """The write may have come after it had read."""
    table = ItemTable()
    table.seconds = 1.0
    reading = asyncio.create_task(table.get(1, cache=since(1_000.0)))
    await asyncio.sleep(0.5)
    table.write(1, 99)
    table.now += 0.5
    assert values(await table.get(1, cache=since(1_000.1))) == {0: 99}
    assert values(await reading) == {0: 10}
