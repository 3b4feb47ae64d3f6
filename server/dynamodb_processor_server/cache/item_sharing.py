"""Finds items in the cache of all replicas before they are read, and stores there what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final

from dynamodb_processor_server.batch_reader import BatchGetRequest
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import ItemContent
from dynamodb_processor_server.cache.item_refresh import RECORD_SKEW, ItemChange
from dynamodb_processor_server.cache.item_shapes import ItemShape, item_tags
from dynamodb_processor_server.cache.shared_items import (
    ExpiringItem,
    ItemLookup,
    ItemTags,
    ItemWrite,
    SharedItems,
    SharedKey,
)
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import CacheMode, CachePolicy
from dynamodb_processor_server.snapshot import GenerationSnapshot

# Shapes in which a write is sent, the latest ones: each costs an encoding of the item.
_MAX_SHAPES: Final = 10


@dataclass(frozen=True, slots=True)
class FoundItem:
    """An item of the shared cache, and when it expires here; None if it is not stored here."""

    item: WireItem | None
    content: ItemContent
    expires: float | None


class SharedFill:
    """What the shared cache needs to store the items that a lookup missed."""

    def __init__(self, shared: SharedItems, fill: object, indexes: Sequence[int]) -> None:
        self._shared = shared
        self._fill = fill
        self._numbers = {index: number for number, index in enumerate(indexes)}

    def store(self, items: Mapping[int, ExpiringItem], *, consistent: bool) -> None:
        """Store items that were read and stored locally, by their index."""
        stored = {self._numbers[index]: item for index, item in items.items()}
        self._shared.store(self._fill, stored, tuple(stored) if consistent else ())


class ItemSharing:
    """Looks items up in the cache that replicas share, and keeps those it finds in `cache`."""

    def __init__(self, shared: SharedItems, cache: ItemCache) -> None:
        self._shared = shared
        self._cache = cache

    async def find(
        self,
        request: BatchGetRequest,
        shape: ItemShape,
        snapshots: Mapping[int, GenerationSnapshot],
        policy: CachePolicy,
    ) -> tuple[dict[int, FoundItem], SharedFill | None]:
        """Return the items that are found, by index, and how to store the others.

        `snapshots` are of the wanted items. REFRESH accepts no item, but stores some.
        """
        # A write that reaches the caches after the lookup does not count as one before it.
        bound = self._cache.bound_of_items(shape, policy)
        indexes = list(snapshots)
        keys = [request.keys[index] for index in indexes]
        found = await self._shared.find(self._lookup(shape, keys, policy, bound))
        if found is None:
            return {}, None
        items = {}
        for number, expiring in found.items.items():
            index, content = indexes[number], self._cache.from_other(expiring.content)
            if content.shows_until < bound:
                continue
            try:
                item = self._cache.item(shape, content)
            except ValueError:
                continue
            key = shape.key(keys[number])
            adopted = ExpiringItem(content, expiring.expires)
            expires = self._cache.adopt(shape, key, adopted, snapshots[index])
            items[index] = FoundItem(item, content, expires)
        return items, SharedFill(self._shared, found.fill, indexes)

    def _lookup(
        self, shape: ItemShape, keys: Sequence[WireItem], policy: CachePolicy, bound: float
    ) -> ItemLookup:
        staleness, mode = policy.max_staleness, policy.mode
        oldest = -inf if staleness is None else self._cache.now() - staleness
        oldest = max(oldest, bound + self._cache.lag_of_others)  # no others are transferred
        if mode is CacheMode.REFRESH:
            oldest = inf
        tags = [item_tags(shape.table, key) for key in keys]
        reads = mode is not CacheMode.ONLY_IF_CACHED
        return ItemLookup(
            [_shared_key(shape, of_item) for of_item in tags],
            tags,
            self._cache.quarantine,
            oldest,
            shape.table.config.cache_ttl if reads else 0.0,
        )

    async def apply(self, table: Table, changes: Sequence[ItemChange]) -> None:
        """Refresh the items of all replicas after writes. Raises BackendUnavailable."""
        shapes = list(self._cache.shapes.of_table(table))[-_MAX_SHAPES:]
        await self._shared.apply_writes([self._write(table, each, shapes) for each in changes])

    def _write(self, table: Table, change: ItemChange, shapes: Sequence[ItemShape]) -> ItemWrite:
        tags = item_tags(table, change.key)
        contents = {}
        for shape in shapes:
            content = change.content(shape, self._cache)
            if content is not None:
                expires = self._cache.expiry(shape, content)
                contents[_shared_key(shape, tags)] = ExpiringItem(content, expires)
        return ItemWrite(tags, change.sequence, change.created - RECORD_SKEW, contents)


def _shared_key(shape: ItemShape, tags: ItemTags) -> SharedKey:
    return shape.digest + tags[-1]
