"""The shared item cache in memory, on the generations and the log of `MemorySharedCache`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dynamodb_processor_server.cache.redis.item_port import (
    ItemsRequest,
    ItemsResult,
    ItemToStore,
    SharedItem,
    SharedWrite,
)
from dynamodb_processor_server.cache.redis.port import EpochChanged

if TYPE_CHECKING:
    from tests.support.shared_cache import MemorySharedCache


@dataclass(frozen=True, slots=True)
class _Stored:
    """`sequence` is 0 for an item that was read, until `read_until`."""

    generations: bytes
    sequence: int
    read_until: float
    value: bytes
    until: float


class MemorySharedItems:
    """The store of items that replicas share."""

    def __init__(self, cache: MemorySharedCache) -> None:
        self._cache = cache
        self._epoch = b""
        self._items: dict[bytes, _Stored] = {}

    def evict(self) -> None:
        """Lose all items."""
        self._items.clear()

    def swap(self, one: bytes, other: bytes) -> None:
        """Exchange the values of two items, as a writer to Redis can."""
        items = self._of_epoch()
        first, second = items[one], items[other]
        items[one] = replace(first, value=second.value)
        items[other] = replace(second, value=first.value)

    async def lookup(self, request: ItemsRequest) -> ItemsResult:
        """Return the items and their generations."""
        if request.epoch != self._cache.epoch:
            raise EpochChanged
        now = self._cache.now()
        found = []
        for name, tags in request.items:
            states = [self._cache.state(tag, request.quarantine, request.lifetime) for tag in tags]
            generations = b".".join(state.name for state in states)
            stored = self._of_epoch().get(name) if request.wants_items else None
            value = None
            if stored is not None and stored.generations == generations and stored.until > now:
                value = stored.value
            past = all(state.past_quarantine for state in states)
            found.append(SharedItem(generations, past, any(s.is_new for s in states), value))
        return ItemsResult(len(self._cache.events), found)

    async def store(self, epoch: bytes, items: Sequence[ItemToStore]) -> None:
        """Store items whose generations are still current."""
        for (name, tags), generations, value, read_until, lifetime in items:
            if epoch != self._cache.epoch or generations != self._current(tags):
                continue
            known = self._of_epoch().get(name)
            is_read = known is not None and known.generations == generations and not known.sequence
            if known is None or not is_read or known.read_until <= read_until:
                until = self._cache.now() + lifetime
                self._items[name] = _Stored(generations, 0, read_until, value, until)

    async def apply(self, epoch: bytes, writes: Sequence[SharedWrite], event: bytes) -> None:
        """Apply writes in order and append an event to the log."""
        for write in writes:
            self._cache.supersede(write.other_names)
            current = self._current(write.tags)
            known = {
                item.name: stored
                for item in write.items
                if (stored := self._of_epoch().get(item.name)) is not None
                and epoch == self._cache.epoch
                and stored.generations == current
                and stored.until > self._cache.now()
            }
            if any(stored.sequence >= write.sequence for stored in known.values()):
                continue
            self._cache.supersede(write.tags[2:])
            for name, value, lifetime in write.items:
                stored = known.get(name)
                if stored is None:
                    continue
                if stored.sequence or stored.read_until < write.replaces_until:
                    until = self._cache.now() + lifetime
                    self._items[name] = _Stored(
                        self._current(write.tags), write.sequence, 0.0, value, until
                    )
        self._cache.events.append(event)

    def _current(self, tags: Sequence[bytes]) -> bytes:
        known = self._cache.generations
        return b".".join(known[tag].name if tag in known else b"" for tag in tags)

    def _of_epoch(self) -> dict[bytes, _Stored]:
        """Return the items of the current epoch, which begins without any."""
        if self._epoch != self._cache.epoch:
            self._epoch, self._items = self._cache.epoch, {}
        return self._items
