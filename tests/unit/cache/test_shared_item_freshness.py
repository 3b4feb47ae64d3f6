"""Items of other replicas for callers who must see every write that was finished before a time."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.cache.item_refresh import RECORD_SKEW
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.reader import CacheMode, CachePolicy, CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import values
from tests.unit.cache.test_shared_item_reads import fleet

_NOW = 1_000.0  # when both replicas read
_LAG = 2.0  # seconds by which an eventual read may lag


def since(moment: float, mode: CacheMode = CacheMode.DEFAULT) -> CachePolicy:
    """Return the policy of a caller who must see the writes before a time."""
    return CachePolicy(mode, not_before=moment)


@warped
async def test_an_item_that_was_read_late_enough_is_shared() -> None:
    """It is stored here with the time of its writes, and served to the next such caller."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        bound = since(_NOW - _LAG)
        only = since(_NOW - _LAG, CacheMode.ONLY_IF_CACHED)
        assert (await second.get(1, cache=only)).status is CacheStatus.SHARED_HIT
        assert (await second.get(1, cache=bound)).status is CacheStatus.HIT
        assert second.reads == 0


@warped
async def test_an_item_that_was_read_too_early_is_not_used() -> None:
    """Its read may have lagged, whether it was consistent or not: that is not shared."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        first.write(1, 99)
        bound = since(_NOW - _LAG + 0.1)
        only = since(_NOW - _LAG + 0.1, CacheMode.ONLY_IF_CACHED)
        with pytest.raises(PreconditionFailed):
            await second.get(1, cache=only)
        assert await second.get_at_last(1, cache=bound) == {0: 99}
        assert second.consistent == [True]


@warped
async def test_the_clock_of_another_replica_may_be_fast() -> None:
    """The item may have been read earlier than its time says."""
    async with fleet(clock_skew=0.5) as (_, first, second):
        await first.get_at_last(1)
        assert (await second.get(1, cache=since(_NOW - _LAG))).status is CacheStatus.MISS
        await first.get_at_last(2)
        found = await second.get(2, cache=since(_NOW - _LAG - 0.5))
        assert found.status is CacheStatus.SHARED_HIT


@warped
async def test_an_item_of_a_record_needs_the_stream() -> None:
    """Records of later writes may be still to come, until the stream was followed so far."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        later = _NOW + RECORD_SKEW + 5.0
        first.write(1, 98)
        await first.receive(1, 5, later)
        first.now = second.now = later + 60.0
        for each in (first, second):
            await each.log.poll()
        only = since(later, CacheMode.ONLY_IF_CACHED)
        with pytest.raises(PreconditionFailed):
            await second.get(1, cache=only)
        second.followed = later
        found = await second.get(1, cache=only)
        assert (found.status, values(found)) == (CacheStatus.SHARED_HIT, {0: 98})


@warped
async def test_a_write_that_arrives_after_the_lookup_does_not_count_as_shown() -> None:
    """The stream is followed to the bound only then, and the item that was found lacks the write.

    The event of the write comes with the next poll of the log, so local generations are current.
    """
    async with fleet() as (items, first, second):
        await first.get_at_last(1)
        items.takes = 0.05
        reading = asyncio.create_task(second.get(1, cache=since(_NOW)))
        await asyncio.sleep(0.02)
        first.write(1, 99)
        await first.receive(1, 5, _NOW)
        second.followed = _NOW
        assert values(await reading) == {0: 99}
