"""The single items that this replica caches: looked up, stored, and replaced after writes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from math import inf
from typing import Final

from dynamodb_processor_server.batch_reader import BatchGetRequest
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_entry import CachedItem, ItemContent, ItemKey
from dynamodb_processor_server.cache.item_shapes import (
    Decode,
    Encode,
    ItemShape,
    ItemShapes,
    ItemTimes,
    item_tags,
)
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import DEFAULT_QUARANTINE, Quarantine
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.shared_items import ExpiringItem
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.tags import Tag
from dynamodb_processor_server.reader import CacheMode, CachePolicy
from dynamodb_processor_server.snapshot import Generation, GenerationSnapshot

_JITTER: Final = 0.05  # an item lives up to this share shorter, so that items do not expire at once


def _never_followed(_table: Table) -> float:
    return -inf


class ItemCache:
    """The items of a replica's store, by shape and primary key.

    An item is stored only if no tag of it was invalidated since its read began, and only past
    quarantine; it is served only if none was invalidated since.

    Args:
        store: Holds the items, beside the pages.
        generations: The generations of the tags.
        encode: Returns the message of an item, None if it has no exact one.
        decode: Returns the item of such a message.
        quarantine: Seconds after an invalidation in which eventual reads are not stored.
        shared: The cache of all replicas, while whose invalidations are late nothing is served.
        now: Returns seconds since the epoch.
        jitter: Returns a number from 0 to 1.
        followed_until: Returns the time up to which every write to a table is known to have
            reached the cached items, by its stream; -inf if that is not known.
        clock_skew: Seconds by which the clocks of two replicas may differ.
    """

    def __init__(
        self,
        store: PageStore,
        generations: Generations,
        encode: Encode,
        decode: Decode,
        quarantine: Quarantine = DEFAULT_QUARANTINE,
        shared: SharedPageCache | None = None,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
        followed_until: Callable[[Table], float] = _never_followed,
        clock_skew: float = 0.0,
    ) -> None:
        self.shapes = ItemShapes()
        self.now = now
        self._store = store
        self._generations = generations
        self._encode = encode
        self._decode = decode
        self._quarantine = quarantine
        self._shared = shared
        self._jitter = jitter
        self._followed_until = followed_until
        self._clock_skew = clock_skew
        self._get: Callable[[Hashable], CachedItem | None] = store.get

    @property
    def quarantine(self) -> float:
        """Seconds after an invalidation in which eventual reads are not stored."""
        return self._quarantine.table

    @property
    def lag_of_others(self) -> float:
        """Seconds before the read of an item by another replica up to which it shows all writes."""
        return self.quarantine + self._clock_skew

    @property
    def invalidations_up_to_date(self) -> bool:
        """Whether no invalidation of another replica can have been missed here."""
        return self._shared is None or self._shared.may_serve_local

    def find(self, shape: ItemShape, key: ItemKey, policy: CachePolicy) -> CachedItem | None:
        """Return an item that a caller accepts, None if it has to be read."""
        cached = self._get(key)
        if cached is None or not self.invalidations_up_to_date:
            return None
        return cached if self._is_accepted(shape, cached, policy) else None

    def _is_accepted(self, shape: ItemShape, cached: CachedItem, policy: CachePolicy) -> bool:
        """Return whether an item is as young as a caller wants, and shows what it must see."""
        content, staleness, bound = cached.content, policy.max_staleness, policy.not_before
        if staleness is not None and self.now() - content.read_at > staleness:
            return False
        if bound is None or content.shows_until >= bound:
            return True
        return self._followed_until(shape.table) >= bound

    def bound_of_items(self, shape: ItemShape, policy: CachePolicy) -> float:
        """Return the time up to which an item must show every write by itself.

        It is that of the caller's bound; -inf if the caller has none, or if the writes until then
        have reached all cached items: those that are found after this call show them.
        """
        bound = policy.not_before
        if bound is None or self._followed_until(shape.table) >= bound:
            return -inf
        return bound

    def find_all(
        self, shape: ItemShape, keys: Iterable[ItemKey], policy: CachePolicy
    ) -> list[CachedItem] | None:
        """Return all of some items, None if one of them has to be read."""
        if not self.serves(policy) or not self.invalidations_up_to_date:
            return None
        found: list[CachedItem] | None = self._store.get_all(keys)
        if found is None:
            return None
        is_limited = policy.max_staleness is not None or policy.not_before is not None
        if is_limited and not all(self._is_accepted(shape, cached, policy) for cached in found):
            return None
        return found

    def serves(self, policy: CachePolicy) -> bool:
        """Return whether a caller accepts cached items at all."""
        return policy.mode is CacheMode.DEFAULT or policy.mode is CacheMode.ONLY_IF_CACHED

    def begin(self, shape: ItemShape, key: WireItem) -> GenerationSnapshot:
        """Return the snapshot of the generations of an item whose read begins now."""
        return self._generations.begin(item_tags(shape.table, key))

    def is_past_quarantine(self, snapshot: GenerationSnapshot, *, consistent: bool) -> bool:
        """Return whether a read shows the latest invalidation before its beginning."""
        return snapshot.is_past_quarantine(0.0 if consistent else self.quarantine)

    def content(
        self, shape: ItemShape, item: WireItem | None, times: ItemTimes
    ) -> ItemContent | None:
        """Return an item that was read, as it is cached; None if it cannot be cached."""
        return shape.content(item, self._encode, times)

    def shown_by(self, read_at: float, *, consistent: bool) -> float:
        """Return the time up to which a read that begins at a time shows every write."""
        return read_at if consistent else read_at - self.quarantine

    def needs_consistent_read(self, policy: CachePolicy) -> bool:
        """Return whether an eventual read that begins now may lack what the caller must see."""
        bound = policy.not_before
        return bound is not None and self.shown_by(self.now(), consistent=False) < bound

    def put(
        self, shape: ItemShape, key: ItemKey, content: ItemContent, snapshot: GenerationSnapshot
    ) -> float | None:
        """Store an item that was read; return when it expires, None if it was not stored."""
        return self._put(shape, key, content, snapshot.generations)

    def from_other(self, content: ItemContent) -> ItemContent:
        """Return an item of the shared cache, with its times by the clock of this replica.

        The clock of the replica that has read it may be slow or fast. Whether its read was
        consistent is not known, so it shows what an eventual one does.
        """
        shown = -inf if content.sequence else content.read_at - self.lag_of_others
        until = content.read_until + self._clock_skew
        return replace(content, read_until=until, shows_until=shown)

    def adopt(
        self, shape: ItemShape, key: ItemKey, found: ExpiringItem, snapshot: GenerationSnapshot
    ) -> float | None:
        """Store an item `from_other`; return when it expires, None if it was not stored."""
        return self._store_entry(shape, key, found.content, found.expires, snapshot.generations)

    def expiry(self, shape: ItemShape, content: ItemContent) -> float:
        """Return when an item expires."""
        lifetime = shape.table.config.cache_ttl * (1 - _JITTER * self._jitter())
        until = inf if content.valid_until is None else content.valid_until
        return min(content.read_at + lifetime, until)

    def replace(
        self, shape: ItemShape, key: ItemKey, entry: CachedItem, content: ItemContent, tag: Tag
    ) -> None:
        """Store an item in place of an entry whose own tag has moved."""
        own = self._generations.begin((tag,)).generations
        stored = self._put(shape, key, content, entry.generations[:-1] + own)
        if stored is not None and content is not entry.content:
            entry.stats.item_refreshes += 1

    def peek(self, key: ItemKey) -> CachedItem | None:
        """Return an item that is stored and not invalidated, without noting its use."""
        entry: CachedItem | None = self._store.peek(key)
        return entry

    def item_tag(self, table: Table, key: WireItem) -> Tag:
        """Return the tag that a write to an item moves."""
        return item_tags(table, key)[-1]

    def _put(
        self,
        shape: ItemShape,
        key: ItemKey,
        content: ItemContent,
        generations: tuple[Generation, ...],
    ) -> float | None:
        expires = self.expiry(shape, content)
        return self._store_entry(shape, key, content, expires, generations)

    def _store_entry(
        self,
        shape: ItemShape,
        key: ItemKey,
        content: ItemContent,
        expires: float,
        generations: tuple[Generation, ...],
    ) -> float | None:
        if expires <= self.now():
            return None
        stats = self._store.stats(shape.table.name)
        entry = CachedItem(content, expires, generations, stats)
        return expires if self._store.put(key, entry) else None

    def item(self, shape: ItemShape, content: ItemContent) -> WireItem | None:
        """Return a cached item, expanded; None if there is no such item. Raises ValueError."""
        return shape.decoded(content, self._decode, self.now())

    def is_cached(self, request: BatchGetRequest) -> bool:
        """Return whether items of a request are stored, and looked up."""
        return not request.consistent and request.table.config.cache_ttl > 0

    def count_hits(self, shape: ItemShape, hits: int) -> None:
        """Count lookups that found an item."""
        self._store.stats(shape.table.name).item_hits += hits

    def count(self, request: BatchGetRequest, *, hits: int = 0, misses: int = 0) -> None:
        """Count lookups."""
        stats = self._store.stats(request.table.name)
        stats.item_hits += hits
        stats.item_misses += misses
