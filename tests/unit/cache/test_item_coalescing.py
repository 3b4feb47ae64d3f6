"""Concurrent reads of one item share one read, and no caller depends on another."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from dynamodb_processor_server.reader import NO_USAGE, CacheMode, CachePolicy, CacheStatus
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import ItemTable, values

REFRESH = CachePolicy(CacheMode.REFRESH)


@warped
async def test_each_item_is_read_once() -> None:
    """Of batches that overlap, each reads only items that no other is reading."""
    table = ItemTable()
    table.seconds = 1.0
    first, second, third = await asyncio.gather(
        table.get(1, 2), table.get(2, 3), table.get(3, 1, 2)
    )
    assert table.requests == [[1, 2], [3]]
    assert (first.status, second.status) == (CacheStatus.MISS, CacheStatus.MISS)
    assert (third.status, third.usage) == (CacheStatus.COALESCED, NO_USAGE)
    assert values(second) == {0: 20, 1: 30}
    assert values(third) == {0: 30, 1: 10, 2: 20}
    assert second.usage.items_scanned == 1


@warped
async def test_followers_see_their_own_rule() -> None:
    """The read is made without a row rule; each caller's own decides."""
    table = ItemTable()
    table.seconds = 1.0
    low, high = await asyncio.gather(
        table.get(1, 3, rule="level = 'low'"), table.get(1, 3, rule="level = 'high'")
    )
    assert (values(low), values(high)) == ({0: 10, 1: None}, {0: None, 1: 30})
    assert table.reads == 2


@warped
async def test_a_request_after_an_invalidation_does_not_join() -> None:
    """The read under way may have begun before the write."""
    table = ItemTable()
    table.seconds = 1.0
    before = asyncio.create_task(table.get(1))
    await asyncio.sleep(0.5)
    table.write(1, 99)
    table.invalidate()
    assert values(await table.get(1)) == {0: 99}
    assert values(await before) == {0: 10}


@warped
async def test_a_younger_read_is_not_joined_where_an_older_one_counts() -> None:
    """A read that began before `max_staleness` is not joined, and REFRESH joins none."""
    table = ItemTable()
    table.seconds = 2.0
    reading = asyncio.create_task(table.get(1))
    await asyncio.sleep(1.0)
    for policy in (CachePolicy(max_staleness=0.5), REFRESH):
        assert (await table.get(1, cache=policy)).status is CacheStatus.MISS
    await reading
    assert table.reads == 3


@warped
async def test_the_leader_may_leave() -> None:
    """The read goes on for the calls that wait, and ends with the last of them."""
    table = ItemTable()
    table.seconds = 1.0
    leader = asyncio.create_task(table.get(1, 2))
    await asyncio.sleep(0.2)
    follower = asyncio.create_task(table.get(2))
    await asyncio.sleep(0.2)
    leader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leader
    assert values(await follower) == {0: 20}
    assert table.requests == [[1, 2]]
    alone = asyncio.create_task(table.get(5))
    await asyncio.sleep(0.2)
    alone.cancel()
    await asyncio.wait((alone,))
    assert values(await table.get(5)) == {0: 50}
    assert table.requests[1:] == [[5], [5]]


@warped
async def test_a_follower_waits_two_seconds_at_most() -> None:
    """Then it reads for itself, together with the others that have waited."""
    table = ItemTable()
    table.seconds = 60.0
    slow = asyncio.create_task(table.get(1, seconds=100.0))
    await asyncio.sleep(1.0)
    followers = [asyncio.create_task(table.get(1)) for _ in range(3)]
    await asyncio.sleep(1.9)
    table.seconds = 0.1
    assert table.reads == 1
    await asyncio.sleep(0.3)
    assert [values(await follower) for follower in followers] == [{0: 10}] * 3
    assert table.reads == 2
    assert not slow.done()
    assert values(await slow) == {0: 10}


@warped
async def test_a_leader_with_a_short_deadline_costs_a_follower_nothing() -> None:
    """The follower reads the item that the leader had no time for."""
    table = ItemTable()
    table.seconds = 1.0
    leader = asyncio.create_task(table.get(1, seconds=0.5))
    await asyncio.sleep(0.1)
    follower = asyncio.create_task(table.get(1))
    with pytest.raises(DeadlineExceeded):
        await leader
    found = await follower
    assert (values(found), found.status) == ({0: 10}, CacheStatus.MISS)
    assert table.reads == 2


@warped
async def test_a_follower_keeps_its_own_deadline() -> None:
    """It is not held by a slow read of another call."""
    table = ItemTable()
    table.seconds = 10.0
    leader = asyncio.create_task(table.get(1))
    await asyncio.sleep(0.1)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineExceeded):
        await table.get(1, seconds=0.5)
    assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)
    await leader


@warped
async def test_keys_that_the_leader_left_are_read() -> None:
    """A budget or deadline of the leader may leave keys unread."""
    table = ItemTable()
    table.seconds, table.most = 1.0, 1
    leader = asyncio.create_task(table.get(1, 2))
    await asyncio.sleep(0.1)
    follower = asyncio.create_task(table.get(2))
    assert values(await leader) == {0: 10}
    assert values(await follower) == {0: 20}
    assert table.requests == [[1], [2]]


@warped
@pytest.mark.parametrize("error", [BackendUnavailable("down"), Overloaded("busy", 1.0)])
async def test_errors_are_shared_unless_they_are_of_the_leader_alone(error: Exception) -> None:
    """A refused leader had a load of its own; that DynamoDB fails concerns all."""
    table = ItemTable()
    table.seconds, table.error = 1.0, error
    leader, follower = (asyncio.create_task(table.get(1)) for _ in range(2))
    with pytest.raises(type(error)):
        await leader
    table.error = None
    if isinstance(error, Overloaded):
        assert values(await follower) == {0: 10}
    else:
        with pytest.raises(BackendUnavailable):
            await follower
    assert values(await table.get(1)) == {0: 10}


@warped
async def test_nothing_is_left_when_the_reader_closes() -> None:
    """Reads that nobody waits for any more are cancelled."""
    table = ItemTable()
    table.seconds = 60.0
    reading = asyncio.create_task(table.get(1, seconds=100.0))
    await asyncio.sleep(1.0)
    await table.reader.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
