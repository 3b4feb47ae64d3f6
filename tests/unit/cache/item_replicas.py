"""Replicas that share an item cache in memory, with items and writes to put into it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import inf
from random import Random
from typing import Any, Final

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_entry import ItemContent
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.item_port import (
    ItemsRequest,
    ItemsResult,
    ItemToStore,
    SharedWrite,
)
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.redis.shared_items import SharedItemCache
from dynamodb_processor_server.cache.shared_items import (
    ExpiringItem,
    ItemLookup,
    ItemsFound,
    ItemWrite,
)
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.tags import Tag
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from tests.support.shared_cache import MemorySharedCache
from tests.support.shared_items import MemorySharedItems

TIMEOUT: Final = 0.1
KEYS: Final = tuple(TokenKey(name, name.encode() * 32) for name in "ab")
CIPHER: Final = PageCipher(KEYS[:1])
TABLE: Final = b"t" * 16
TTL: Final = 300.0


class CountedItems(MemorySharedItems):
    """Items whose operations are counted, and may fail or take time."""

    def __init__(self, cache: MemorySharedCache) -> None:
        super().__init__(cache)
        self.lookups: list[int] = []
        self.writes: list[int] = []
        self.error: Exception | None = None
        self.takes = 0.0

    async def lookup(self, request: ItemsRequest) -> ItemsResult:
        """Return the items and their generations."""
        self.lookups.append(len(request.items))
        await self._answer()
        return await super().lookup(request)

    async def store(self, epoch: bytes, items: Sequence[ItemToStore]) -> None:
        """Store items."""
        await self._answer()
        await super().store(epoch, items)

    async def apply(self, epoch: bytes, writes: Sequence[SharedWrite], event: bytes) -> None:
        """Apply writes."""
        self.writes.append(len(writes))
        await self._answer()
        await super().apply(epoch, writes, event)

    async def _answer(self) -> None:
        await asyncio.sleep(self.takes)
        if self.error is not None:
            raise self.error


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica's shared items, log and generations."""

    items: SharedItemCache
    pages: SharedPageCache
    generations: Generations

    async def find(self, *names: str, **lookup: Any) -> ItemsFound:
        """Look items up, which must not fail."""
        found = await self.items.find(made_lookup(*names, **lookup))
        assert found is not None
        return found

    async def messages(self, *names: str, **lookup: Any) -> list[bytes | None]:
        """Return the messages of the items that are found, None for the others."""
        found = (await self.find(*names, **lookup)).items
        return [found[at].content.message if at in found else None for at in range(len(names))]

    async def read(self, *names: str, message: bytes = b"read") -> None:
        """Look items up, and store them as they are after a read."""
        found = await self.find(*names)
        self.items.store(found.fill, {at: item(message) for at in range(len(names))})
        await asyncio.sleep(0)  # the command is sent
        await asyncio.sleep(0)

    async def poll(self) -> None:
        """Apply the invalidations of all replicas."""
        await self.pages.invalidation_log.poll()

    @property
    def outcomes(self) -> dict[tuple[str, str], int]:
        """The outcomes of operations."""
        return self.pages.guard.outcomes


@asynccontextmanager
async def replicas(
    count: int = 2, ciphers: Sequence[PageCipher] = (CIPHER, CIPHER)
) -> AsyncIterator[tuple[MemorySharedCache, CountedItems, list[Replica]]]:
    """Open replicas that are up to date, and whose generations are no longer new."""
    now = asyncio.get_running_loop().time
    store = MemorySharedCache(now, Random(1))
    store.items = items = CountedItems(store)
    opened = []
    for cipher in ciphers[:count]:
        generations = Generations(now)
        log = InvalidationLogFollower(store, cipher, generations, TIMEOUT, now)
        breaker = CircuitBreaker(BreakerSettings(), now, lambda: 0.5)
        guard = GuardedStore(breaker, TIMEOUT)
        pages = SharedPageCache(store, cipher, log, guard, "bypass", now, lambda: 0.5)
        shared = SharedItemCache(items, cipher, pages, generations, TIMEOUT, now)
        opened.append(Replica(shared, pages, generations))
        await log.poll()
    yield store, items, opened
    for each in opened:
        await each.pages.close()


def tags(name: str) -> tuple[Tag, Tag, Tag]:
    """Return the tags of an item."""
    return TABLE, b"p" * 16, name.encode().ljust(16)


def made_lookup(*names: str, quarantine: float = 2.0, oldest: float = -inf) -> ItemLookup:
    """Return a lookup of items."""
    keys = tuple(name.encode() for name in names)
    return ItemLookup(keys, tuple(map(tags, names)), quarantine, oldest, TTL)


def item(
    message: bytes | None, *, read_at: float | None = None, sequence: int = 0, source: bytes = b""
) -> ExpiringItem:
    """Return an item that was read now, or at another time."""
    now = asyncio.get_running_loop().time()
    at = now if read_at is None else read_at
    return ExpiringItem(ItemContent(message, source, at, at, None, sequence), at + TTL)


def write(
    name: str, sequence: int, message: bytes | None, replaces_until: float | None = None
) -> ItemWrite:
    """Return a write, made a minute after all reads."""
    now = asyncio.get_running_loop().time()
    at = now + 60.0 if replaces_until is None else replaces_until
    return ItemWrite(tags(name), sequence, at, {name.encode(): item(message, sequence=sequence)})
