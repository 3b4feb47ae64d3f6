"""Reads of single items that fill both caches: the one of this replica and that of all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from dynamodb_processor_server.batch_reader import BatchGetRequest, ItemReader
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import ItemContent, ItemKey
from dynamodb_processor_server.cache.item_shapes import ItemShape, ItemTimes
from dynamodb_processor_server.cache.item_sharing import ItemSharing, SharedFill
from dynamodb_processor_server.cache.shared_items import ExpiringItem
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import NO_USAGE, CachePolicy, Caller, ReadOptions, Usage
from dynamodb_processor_server.runtime.concurrency import gather_or_cancel
from dynamodb_processor_server.snapshot import GenerationSnapshot


class ReadItem(NamedTuple):
    """An item that was read, or `is_cached`.

    `content` is None if it cannot be cached, `expires` if it is not.
    """

    item: WireItem | None
    content: ItemContent | None
    read_at: float
    expires: float | None
    is_cached: bool = False


class ReadItems(NamedTuple):
    """The items of one read, by key, and its cost; `is_shared` if other replicas had them all."""

    items: Mapping[ItemKey, ReadItem]
    usage: Usage
    is_shared: bool = False


@dataclass(slots=True)
class WantedItems:
    """The items that a call has to read, by index, with their keys and snapshots."""

    request: BatchGetRequest
    shape: ItemShape
    keys: Mapping[int, ItemKey]
    snapshots: Mapping[int, GenerationSnapshot]
    in_quarantine: frozenset[int]

    def flight_key(self, index: int) -> Hashable:
        """Return the key of flights that a read of an item may join.

        A request made after quarantine does not join a read that started during it.
        """
        return self.keys[index], self.snapshots[index].generations, index in self.in_quarantine


class ItemFill:
    """Takes items from the cache of all replicas, or reads them; and stores them in both caches.

    In the quarantine after an invalidation an item is read consistently, where that shows the
    write, or is not stored.
    """

    def __init__(self, items: ItemReader, cache: ItemCache, sharing: ItemSharing | None) -> None:
        self._items = items
        self._cache = cache
        self._sharing = sharing

    async def read(
        self, wanted: WantedItems, indexes: list[int], options: ReadOptions, caller: Caller
    ) -> ReadItems:
        """Return the items that the cache of all replicas has, and read the others."""
        found, fill = await self.find_shared(wanted, indexes, options.cache)
        items = {wanted.keys[index]: item for index, item in found.items()}
        left = [index for index in indexes if index not in found]
        if not left:
            return ReadItems(items, NO_USAGE, is_shared=True)
        read = await self._read_groups(wanted, left, options, caller, fill)
        return ReadItems({**items, **read.items}, read.usage)

    async def find_shared(
        self, wanted: WantedItems, indexes: list[int], policy: CachePolicy
    ) -> tuple[dict[int, ReadItem], SharedFill | None]:
        """Return the items that the cache of all replicas has, and how to store others there."""
        if self._sharing is None:
            return {}, None
        snapshots = {index: wanted.snapshots[index] for index in indexes}
        found, fill = await self._sharing.find(wanted.request, wanted.shape, snapshots, policy)
        return {
            index: ReadItem(
                each.item, each.content, each.content.read_at, each.expires, is_cached=True
            )
            for index, each in found.items()
        }, fill

    async def _read_groups(
        self,
        wanted: WantedItems,
        indexes: list[int],
        options: ReadOptions,
        caller: Caller,
        fill: SharedFill | None,
    ) -> ReadItems:
        """Read items: those in quarantine consistently, where that shows every write.

        A bound of the caller on their freshness makes all reads consistent, if it needs that.
        """
        if self._cache.needs_consistent_read(options.cache):
            return await self._read_group(wanted, indexes, options, caller, fill, consistent=True)
        replicated = wanted.request.table.schema.replicated
        strong = [] if replicated else [i for i in indexes if i in wanted.in_quarantine]
        weak = [index for index in indexes if index not in strong]
        groups = [(group, group is strong) for group in (weak, strong) if group]
        reads = [
            self._read_group(wanted, group, options, caller, fill, consistent=consistent)
            for group, consistent in groups
        ]
        if len(reads) == 1:
            return await reads[0]
        answers = await gather_or_cancel(reads)
        items: dict[ItemKey, ReadItem] = {}
        usage = NO_USAGE
        for answer in answers:
            items.update(answer.items)
            usage += answer.usage
        return ReadItems(items, usage)

    async def _read_group(
        self,
        wanted: WantedItems,
        indexes: list[int],
        options: ReadOptions,
        caller: Caller,
        fill: SharedFill | None,
        *,
        consistent: bool,
    ) -> ReadItems:
        """Read items in one way, and store those that may be stored.

        They are read without the row rule of the caller, which the cache does not know. A
        consistent read does not show what was written in another region.
        """
        request, cache, shape = wanted.request, self._cache, wanted.shape
        sees_all = consistent and not request.table.schema.replicated
        keys = tuple(request.keys[index] for index in indexes)
        result = await self._items.get_items(
            replace(request, keys=keys, consistent=consistent, rule=None), options, caller
        )
        shown = cache.shown_by(result.read_at, consistent=sees_all)
        times = ItemTimes(result.read_at, cache.now(), shown)
        items: dict[ItemKey, ReadItem] = {}
        stored: dict[int, ExpiringItem] = {}
        for number, item in result.items.items():
            index = indexes[number]
            key, snapshot, expires = wanted.keys[index], wanted.snapshots[index], None
            content = cache.content(shape, item, times)
            if content is not None and cache.is_past_quarantine(snapshot, consistent=sees_all):
                expires = cache.put(shape, key, content, snapshot)
                if expires is not None:
                    stored[index] = ExpiringItem(content, expires)
            items[key] = ReadItem(item, content, result.read_at, expires)
        if fill is not None and stored:
            fill.store(stored, consistent=sees_all)
        return ReadItems(items, result.usage)
