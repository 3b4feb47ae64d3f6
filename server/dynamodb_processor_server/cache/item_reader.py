"""The reader that returns cached items."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from typing import Final

from dynamodb_processor_server.batch_reader import (
    BatchGetRequest,
    BatchGetResult,
    CachedItems,
    ItemReader,
)
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_entry import ItemContent, ItemKey
from dynamodb_processor_server.cache.item_fill import ReadItem
from dynamodb_processor_server.cache.item_reads import Answer, ItemReads
from dynamodb_processor_server.cache.item_shapes import ItemShape
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheMode,
    CachePolicy,
    CacheStatus,
    Caller,
    ReadOptions,
)

_NOTHING: Final = CachedItems({})


class CachingItemReader:
    """Returns items of the local store, and reads the others with `items`; see `ItemReads`."""

    def __init__(
        self,
        items: ItemReader,
        cache: ItemCache,
        wait: float,
        sharing: ItemSharing | None = None,
    ) -> None:
        self._items = items
        self._cache = cache
        self._reads = ItemReads(items, cache, wait, sharing)

    def cached_items(self, request: BatchGetRequest, policy: CachePolicy) -> CachedItems:
        """Return the items that are cached and fresh; see `ItemLookup`."""
        cache = self._cache
        if not cache.serves(policy) or not cache.is_cached(request):
            return _NOTHING
        shape, rule = cache.shapes.of(request), request.rule
        messages: dict[int, bytes | None] = {}
        read_at = expires = inf
        for index, key in enumerate(request.keys):
            cached = cache.find(shape, shape.key(key), policy)
            if cached is None:
                continue
            content = cached.content
            message = content.message
            if message is not None and rule is not None:
                item = self._item(shape, content)
                if item is None:
                    continue
                message = message if rule.admits(item) else None
            messages[index] = message
            read_at, expires = min(read_at, content.read_at), min(expires, cached.expires)
        cache.count(request, hits=len(messages))
        now = cache.now()
        return CachedItems(messages, read_at, max(0.0, now - read_at), expires - now)

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return items, of the cache or read; see `ItemReader`."""
        cache, policy = self._cache, options.cache
        only_if_cached = policy.mode is CacheMode.ONLY_IF_CACHED
        if policy.mode is CacheMode.BYPASS or not cache.is_cached(request):
            if only_if_cached:
                raise _not_cached()
            if cache.needs_consistent_read(policy):
                request = replace(request, consistent=True)
            return await self._items.get_items(request, options, caller)
        shape = cache.shapes.of(request)
        answer = Answer(request.rule)
        missing: dict[int, ItemKey] = {}
        for index, key in enumerate(request.keys):
            if _is_hidden(request, key):
                answer.items[index] = None
            elif not self._find(answer, index, shape, shape.key(key), policy):
                missing[index] = shape.key(key)
        cache.count(request, hits=len(request.keys) - len(missing), misses=len(missing))
        if not missing:
            return answer.result(NO_USAGE, CacheStatus.HIT, cache.now())
        if only_if_cached:
            if not await self._reads.find_shared(request, shape, missing, answer, policy):
                raise _not_cached()
            return answer.result(NO_USAGE, CacheStatus.SHARED_HIT, cache.now())
        usage, status = await self._reads.read(request, shape, missing, answer, options, caller)
        return answer.result(usage, status, cache.now())

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._reads.close()

    def _find(
        self, answer: Answer, index: int, shape: ItemShape, key: ItemKey, policy: CachePolicy
    ) -> bool:
        """Add a cached item to an answer; return whether there is one."""
        cached = self._cache.find(shape, key, policy) if self._cache.serves(policy) else None
        if cached is None:
            return False
        content = cached.content
        item = self._item(shape, content)
        if item is None and content.message is not None:
            return False
        answer.add(index, ReadItem(item, content, content.read_at, cached.expires, is_cached=True))
        return True

    def _item(self, shape: ItemShape, content: ItemContent) -> WireItem | None:
        """Return a cached item; None as well if its message cannot be decoded."""
        try:
            return self._cache.item(shape, content)
        except ValueError:
            return None


def _is_hidden(request: BatchGetRequest, key: WireItem) -> bool:
    """Return whether the row rule hides the item with a key, judging by the key."""
    rule = request.rule
    return rule is not None and not rule.admits_key(request.table.view.expanded(key, 0.0))


def _not_cached() -> PreconditionFailed:
    return PreconditionFailed(
        "NOT_CACHED", "cache.mode", "an item is not cached, and ONLY_IF_CACHED reads nothing"
    )
