"""The shared item cache in Redis, as the item reader uses it: no error and no long wait.

Replicas do not wait for each other's reads of items, as they do for pages: after a write the item
is here already, because the write refreshes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.item_port import (
    ItemName,
    ItemsRequest,
    ItemsResult,
    ItemToStore,
    RefreshedItem,
    SharedItemStore,
    SharedWrite,
)
from dynamodb_processor_server.cache.redis.port import EpochChanged
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.shared_items import (
    ExpiringItem,
    ItemLookup,
    ItemsFound,
    ItemTags,
    ItemWrite,
    SharedKey,
)
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError

_MAX_ITEMS: Final = 100  # of one lookup: the most keys of a batch
_MAX_WRITES: Final = 100
_MAX_ITEM_BYTES: Final = 32 * 1024  # so a lookup returns at most 3.2 MB
_MAX_WRITE_BYTES: Final = 1024 * 1024  # of all items in one script


@dataclass(frozen=True, slots=True)
class ItemFill:
    """A lookup in parts, and the result of each: those needed to store the items it missed."""

    parts: Sequence[tuple[ItemsRequest, ItemsResult]]


class SharedItemCache:
    """Items that replicas share.

    Args:
        store: The store of items.
        cipher: Encrypts items and makes their names.
        pages: The shared page cache, whose connection, circuit breaker and invalidation log serve
            items as well.
        generations: The local generations.
        timeout: Seconds that applying some writes may take.
        now: Returns seconds since the epoch.
    """

    def __init__(
        self,
        store: SharedItemStore,
        cipher: PageCipher,
        pages: SharedPageCache,
        generations: Generations,
        timeout: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._cipher = cipher
        self._pages = pages
        self._generations = generations
        self._timeout = timeout
        self._now = now

    async def find(self, lookup: ItemLookup) -> ItemsFound | None:
        """Return the items that are stored, in one round trip for 100 keys; None if Redis fails.

        The caller must have taken its snapshot of the local generations before.
        """
        log, outcomes = self._pages.invalidation_log, self._pages.guard.outcomes
        if not log.fresh:
            outcomes["look_up_items", "not_fresh"] += 1
            return None
        found: dict[int, ExpiringItem] = {}
        parts = []
        try:
            for first in range(0, len(lookup.keys), _MAX_ITEMS):
                request = self._request(lookup, log.epoch, first)
                result = await self._look_up(request)
                parts.append((request, result))
                found.update(self._decrypted(request, result, lookup.oldest, first))
        except EpochChanged:
            outcomes["look_up_items", "epoch_over"] += 1
            log.mark_stale()
            return None
        except StoreError:
            return None  # it has been counted
        outcomes["look_up_items", "hit"] += len(found)
        outcomes["look_up_items", "miss"] += len(lookup.keys) - len(found)
        return ItemsFound(found, ItemFill(parts))

    async def _look_up(self, request: ItemsRequest) -> ItemsResult:
        return await self._pages.guard.call("look_up_items", lambda: self._store.lookup(request))

    def _request(self, lookup: ItemLookup, epoch: bytes, first: int) -> ItemsRequest:
        part = slice(first, first + _MAX_ITEMS)
        return ItemsRequest(
            epoch,
            self._names(lookup.keys[part], lookup.tags[part]),
            lookup.quarantine,
            lookup.lifetime,
            lookup.oldest <= self._now(),
        )

    def _names(self, keys: Sequence[SharedKey], tags: Sequence[ItemTags]) -> tuple[ItemName, ...]:
        """Return the names of items and of their tags; many items share the first two tags."""
        unique = dict.fromkeys(tag for of_item in tags for tag in of_item)
        names = dict(zip(unique, self._cipher.tag_names(unique), strict=True))
        return tuple(
            ItemName(self._cipher.item_name(key), (names[table], names[partition], names[own]))
            for key, (table, partition, own) in zip(keys, tags, strict=True)
        )

    def _decrypted(
        self, request: ItemsRequest, result: ItemsResult, oldest: float, first: int
    ) -> Iterator[tuple[int, ExpiringItem]]:
        """Yield the found items that may be used, with their index in the whole lookup."""
        now = self._now()
        for index, (name, shared) in enumerate(zip(request.items, result.items, strict=True)):
            if shared.value is None:
                continue
            try:
                item = self._cipher.decrypt_item(shared.value, _context(request.epoch, name.name))
            except DecryptionError:
                self._pages.guard.outcomes["look_up_items", "garbage"] += 1
                continue
            if item.expires > now and item.content.read_at >= oldest:
                yield first + index, item

    def store(
        self,
        fill: object,
        items: Mapping[int, ExpiringItem],
        consistent: Collection[int] = (),
    ) -> None:
        """Store items that were read after a lookup, where that is allowed; return without waiting.

        An item's snapshot of local generations must be current and past quarantine. As for pages,
        the shared generations must have been past quarantine too, unless the item was read
        `consistent`ly. A new generation needs every invalidation up to the lookup to be applied
        here.
        """
        assert isinstance(fill, ItemFill), "fills come from `find`"
        log = self._pages.invalidation_log
        for part, (request, result) in enumerate(fill.parts):
            if log.epoch != request.epoch:
                return
            up_to_date = log.sequence >= result.sequence
            stored = []
            for index, name in enumerate(request.items):
                shared, number = result.items[index], part * _MAX_ITEMS + index
                item = items.get(number)
                if item is None or not (shared.past_quarantine or number in consistent):
                    continue
                lifetime = item.expires - self._now()
                fits = lifetime > 0 and _size(item) <= _MAX_ITEM_BYTES
                if fits and (up_to_date or not shared.has_new_generation):
                    value = self._cipher.encrypt_item(item, _context(request.epoch, name.name))
                    until = item.content.read_until
                    stored.append(ItemToStore(name, shared.generations, value, until, lifetime))
            self._store_part(request.epoch, stored)

    def _store_part(self, epoch: bytes, items: Sequence[ItemToStore]) -> None:
        if items:
            self._pages.run_in_background("store_items", lambda: self._store.store(epoch, items))

    async def apply_writes(self, writes: Sequence[ItemWrite]) -> None:
        """Refresh the stored items, and supersede all cached ones of the written items.

        Here a second time, because in between an item of the shared cache's earlier generations may
        have been stored under the new local ones.
        """
        log = self._pages.invalidation_log
        written = [write.tags[-1] for write in writes]
        self._generations.invalidate(written)
        try:
            for part in _parts(writes):
                shared = [self._shared_write(write, log.epoch) for write in part]
                tags = [log.origin, *(write.tags[-1] for write in part)]
                async with asyncio.timeout(self._timeout):
                    await self._store.apply(log.epoch, shared, self._cipher.encrypt_event(tags))
        except (StoreError, TimeoutError) as error:
            kind = error.kind if isinstance(error, StoreError) else "timeout"
            self._pages.guard.outcomes["apply_writes", kind] += 1
            raise BackendUnavailable(
                "Redis did not take the writes to cached items, so other replicas may not have them"
            ) from None
        finally:
            self._generations.invalidate(written)
        self._pages.guard.outcomes["apply_writes", "done"] += 1

    def _shared_write(self, write: ItemWrite, epoch: bytes) -> SharedWrite:
        table, partition, own = self._cipher.tag_names(write.tags)
        items = []
        for key, item in write.contents.items():
            lifetime = item.expires - self._now()
            if lifetime > 0 and _size(item) <= _MAX_ITEM_BYTES:
                name = self._cipher.item_name(key)
                value = self._cipher.encrypt_item(item, _context(epoch, name))
                items.append(RefreshedItem(name, value, lifetime))
        return SharedWrite(
            (table, partition, own),
            self._cipher.other_tag_names(write.tags[-1]),
            write.sequence,
            write.replaces_until,
            items,
        )


def _parts(writes: Sequence[ItemWrite]) -> Iterator[Sequence[ItemWrite]]:
    """Yield the writes in order, in parts of bounded number and size."""
    part: list[ItemWrite] = []
    size = 0
    for write in writes:
        added = sum(map(_size, write.contents.values()))
        if part and (len(part) == _MAX_WRITES or size + added > _MAX_WRITE_BYTES):
            yield part
            part, size = [], 0
        part.append(write)
        size += added
    if part:
        yield part


def _size(item: ExpiringItem) -> int:
    return len(item.content.message or b"") + len(item.content.source)


def _context(epoch: bytes, name: bytes) -> bytes:
    return b"item" + b"\0".join((epoch, name))
