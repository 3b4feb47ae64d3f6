"""Two replicas that cache items, and share them: reads, writes, and races between both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, Final

import pytest

from dynamodb_processor_server.cache.invalidator import SharedInvalidator
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.item_refresh import RECORD_SKEW
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.item_port import ItemsRequest, ItemsResult, SharedWrite
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.redis.shared_items import SharedItemCache
from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.change_streams.invalidation_sink import InvalidationSink
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.reader import CacheMode, CachePolicy, CacheStatus
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from tests.support.shared_cache import MemorySharedCache
from tests.support.shared_items import MemorySharedItems
from tests.support.warped_time import warped
from tests.unit.cache.cached_items import ItemTable, values

TIMEOUT: Final = 0.1
CIPHER: Final = PageCipher((TokenKey("one", bytes(range(32))),))
ONLY: Final = CachePolicy(CacheMode.ONLY_IF_CACHED)
_NOW: Final = 1_000.0
LATER: Final = _NOW + RECORD_SKEW + 5.0  # when records are created


class _Items(MemorySharedItems):
    """Items whose lookups take time after they were made, or fail; writes take time before."""

    takes = 0.0
    writes_take = 0.0
    error: Exception | None = None

    async def lookup(self, request: ItemsRequest) -> ItemsResult:
        """Return the items and their generations."""
        if self.error is not None:
            raise self.error
        result = await super().lookup(request)
        await asyncio.sleep(self.takes)
        return result

    async def apply(self, epoch: bytes, writes: Sequence[SharedWrite], event: bytes) -> None:
        """Apply writes."""
        await asyncio.sleep(self.writes_take)
        await super().apply(epoch, writes, event)


class Replica(ItemTable):
    """A replica with its own view of one table, whose items are those of `like`."""

    def __init__(
        self, store: MemorySharedCache, like: Replica | None = None, clock_skew: float = 0.0
    ) -> None:
        super().__init__(clock_skew=clock_skew)
        if like is not None:
            self.items = like.items

        def now() -> float:
            return self.now

        self.log = InvalidationLogFollower(store, CIPHER, self.generations, TIMEOUT, now)
        guard = GuardedStore(CircuitBreaker(BreakerSettings(), now, lambda: 0.5), TIMEOUT)
        self.pages = SharedPageCache(store, CIPHER, self.log, guard, "bypass", now, lambda: 0.5)
        shared = SharedItemCache(store.items, CIPHER, self.pages, self.generations, TIMEOUT, now)
        sharing = ItemSharing(shared, self.cache)
        self.reader = CachingItemReader(self, self.cache, 2.0, sharing)
        invalidator = SharedInvalidator(self.generations, store, CIPHER, TIMEOUT)
        self.sink = InvalidationSink(
            invalidator, self.refreshes, TableProgress(0.5), sharing, lambda: self.log.received
        )

    async def receive(self, number: int, sequence: int, created: float, **how: Any) -> None:
        """Deal with the stream record of a write, as the consumer does."""
        change = self.change(number, sequence, created, **how)
        await self.sink.invalidate_partitions(self.table, (), [change])

    async def get_at_last(self, *numbers: int, **how: Any) -> dict[int, int | None]:
        """Get items, and let commands in the background end."""
        found = await self.get(*numbers, **how)
        await asyncio.sleep(0.01)
        return values(found)


@asynccontextmanager
async def fleet(clock_skew: float = 0.0) -> AsyncIterator[tuple[_Items, Replica, Replica]]:
    """Open two replicas whose logs are up to date."""
    store = MemorySharedCache(lambda: _NOW, Random(1))
    store.items = items = _Items(store)
    first = Replica(store, clock_skew=clock_skew)
    second = Replica(store, first, clock_skew)
    for each in (first, second):
        each.now = _NOW
        await each.log.poll()
    yield items, first, second
    for each in (first, second):
        await each.reader.close()
        await each.pages.close()


@warped
async def test_an_item_is_read_by_one_replica_only() -> None:
    """The other one finds it in the shared cache, and has it itself from then on."""
    async with fleet() as (_, first, second):
        assert await first.get_at_last(1, 2) == {0: 10, 1: 20}
        found = await second.get(2, 1)
        assert (found.status, values(found)) == (CacheStatus.SHARED_HIT, {0: 20, 1: 10})
        assert found.usage.backend_calls == 0
        assert (await second.get(1)).status is CacheStatus.HIT
        assert (first.reads, second.reads) == (2, 0)


@warped
async def test_only_missing_items_are_read() -> None:
    """An answer with any item that was read is a MISS; absence is shared too."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1, 77)
        found = await second.get(1, 2, 77)
        assert (found.status, values(found)) == (CacheStatus.MISS, {0: 10, 1: 20, 2: None})
        assert second.requests == [[2]]


@warped
async def test_shapes_are_shared_each_for_itself() -> None:
    """An item with another projection is another entry."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        assert (await second.get(1, projection=["value"])).status is CacheStatus.MISS
        await first.get_at_last(1, projection=["value"])
        assert first.requests == [[1]]


@warped
async def test_only_if_cached_takes_shared_items() -> None:
    """It fails if one of the items is in neither cache."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        assert (await second.get(1, cache=ONLY)).status is CacheStatus.SHARED_HIT
        with pytest.raises(PreconditionFailed):
            await second.get(1, 2, cache=ONLY)
        assert second.reads == 0


@warped
async def test_refresh_takes_no_shared_item_but_stores_one() -> None:
    """Other replicas get the item that was read last."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        first.write(1, 99)
        for each in (first, second):
            each.now += 0.3
        refreshed = await second.get(1, cache=CachePolicy(CacheMode.REFRESH))
        assert (refreshed.status, values(refreshed)) == (CacheStatus.MISS, {0: 99})
        await asyncio.sleep(0.01)
        found = await first.get(1, cache=CachePolicy(CacheMode.DEFAULT, 0.2))
        assert (found.status, values(found)) == (CacheStatus.SHARED_HIT, {0: 99})


@warped
async def test_a_caller_may_want_younger_items_than_are_shared() -> None:
    """A caller that joins the lookup of another one judges its item by itself."""
    async with fleet() as (items, first, second):
        await first.get_at_last(1)
        for each in (first, second):
            each.now += 0.3
        young = CachePolicy(CacheMode.DEFAULT, 0.2)
        items.takes = 0.01
        default, wanted = await asyncio.gather(second.get(1), second.get(1, cache=young))
        assert default.status is CacheStatus.SHARED_HIT
        assert wanted.status is CacheStatus.MISS
        assert second.reads == 1


@warped
async def test_a_row_rule_is_evaluated_on_a_shared_item() -> None:
    """The shared cache knows no rules."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        assert values(await second.get(1, rule="value = 11")) == {0: None}
        assert values(await second.get(1, rule="value = 10")) == {0: 10}
        assert second.reads == 0


@warped
async def test_a_write_refreshes_the_items_of_all_replicas() -> None:
    """The consumer's replica has the new item at once, the other one finds it in Redis."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1, 2)
        await second.get_at_last(1, 2)
        first.write(1, 99)
        await first.receive(1, 5, LATER)
        for each in (first, second):
            await each.log.poll()
        here, there = await first.get(1, 2), await second.get(1, 2)
        assert (here.status, values(here)) == (CacheStatus.HIT, {0: 99, 1: 20})
        assert (there.status, values(there)) == (CacheStatus.SHARED_HIT, {0: 99, 1: 20})
        assert (first.reads, second.reads) == (2, 0)
        await first.receive(1, 6, LATER, removed=True)
        await second.log.poll()
        assert values(await second.get(1)) == values(await first.get(1)) == {0: None}
        assert (first.reads, second.reads) == (2, 0)


@warped
async def test_records_that_another_consumer_repeats_bring_nothing_back() -> None:
    """The second replica takes over and starts with records that the first has dealt with."""
    async with fleet() as (_, first, second):
        await first.get_at_last(1)
        await second.get_at_last(1)
        first.write(1, 50)
        older = second.change(1, 5, LATER)
        await first.receive(1, 5, LATER)
        first.write(1, 99)
        await first.receive(1, 6, LATER)
        await second.log.poll()
        await second.sink.invalidate_partitions(second.table, (), [older])
        for each in (first, second):
            await each.log.poll()
            assert values(await each.get(1)) == {0: 99}
        assert (first.reads, second.reads) == (1, 0)


@warped
async def test_a_late_consumer_brings_back_no_older_item() -> None:
    """While it waits for Redis, another one deals with that write and with a later one."""
    async with fleet() as (items, first, second):
        await second.get_at_last(1)
        second.write(1, 98)
        items.writes_take = 0.05
        late = asyncio.create_task(second.receive(1, 5, LATER))
        await asyncio.sleep(0.01)
        items.writes_take = 0.0
        await first.receive(1, 5, LATER)
        first.write(1, 99)
        await first.receive(1, 6, LATER)
        await second.log.poll()
        await late
        assert values(await second.get(1)) == {0: 99}


@pytest.mark.parametrize("takes", [0.01, 0.05])
@warped
async def test_an_item_found_before_a_write_is_not_kept(takes: float) -> None:
    """Its lookup was answered before the write, and comes back after it."""
    async with fleet() as (items, first, second):
        await second.get_at_last(1)
        items.takes = takes
        late = asyncio.create_task(first.get(1))
        await asyncio.sleep(0.001)
        first.write(1, 99)
        await first.receive(1, 5, LATER)
        assert values(await late) == {0: 10}
        assert values(await first.get(1)) == {0: 99}


@warped
async def test_an_item_found_while_a_write_is_sent_is_not_kept() -> None:
    """Redis had the earlier item still, and this replica had dropped its own."""
    async with fleet() as (items, first, second):
        await second.get_at_last(1)
        items.writes_take = 0.05
        first.write(1, 99)
        receiving = asyncio.create_task(first.receive(1, 5, LATER))
        await asyncio.sleep(0.01)
        assert values(await first.get(1)) == {0: 10}
        await receiving
        assert values(await first.get(1)) == {0: 99}


@warped
async def test_without_redis_items_are_read() -> None:
    """No call fails, and none waits longer than for one answer of Redis."""
    async with fleet() as (items, first, second):
        await first.get_at_last(1)
        items.error = StoreError("unreachable")
        found = await second.get(1)
        assert (found.status, values(found)) == (CacheStatus.MISS, {0: 10})
        items.error, items.takes = None, 10 * TIMEOUT
        began = asyncio.get_running_loop().time()
        assert (await second.get(2)).status is CacheStatus.MISS
        assert asyncio.get_running_loop().time() - began <= TIMEOUT + 0.01
