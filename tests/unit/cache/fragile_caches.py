"""A shared cache that loses data, and the connections of replicas to it, which are cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import Final, Protocol, TypeVar

from dynamodb_processor_server.cache.redis.item_port import (
    ItemsRequest,
    ItemsResult,
    ItemToStore,
    SharedItemStore,
    SharedWrite,
)
from dynamodb_processor_server.cache.redis.port import (
    FIRST_PROGRESS,
    LookupRequest,
    LookupResult,
    PollResult,
    SharedCacheStore,
)
from dynamodb_processor_server.runtime.guarded_store import StoreError
from tests.support.shared_cache import MemorySharedCache

_DELAYS: Final = (*(0.0,) * 12, 0.01, 0.02, 0.04, 0.2)

_T = TypeVar("_T")


class FragileSharedCache(Protocol):
    """The replicas' shared store, and its faults."""

    def store(self, replica: int) -> SharedCacheStore:
        """Return the store of one replica."""
        ...

    def items(self, replica: int) -> SharedItemStore:
        """Return the store of items of one replica."""
        ...

    async def evict(self) -> None:
        """Lose generations, without a trace of their loss."""
        ...

    async def evict_items(self) -> None:
        """Lose single items, and no generations."""
        ...

    async def flush(self) -> None:
        """Lose the data of an epoch."""
        ...

    async def disconnect(self, replica: int) -> None:
        """Break a replica's connections, with any commands under way on them."""
        ...


class FragileMemory:
    """The shared cache in memory, to which there are no connections."""

    def __init__(self, shared: MemorySharedCache) -> None:
        self._shared = shared

    def store(self, replica: int) -> SharedCacheStore:
        """Return the shared cache itself."""
        return self._shared

    def items(self, replica: int) -> SharedItemStore:
        """Return the items of the shared cache."""
        return self._shared.items

    async def evict(self) -> None:
        """Lose every generation."""
        self._shared.evict_generations()

    async def evict_items(self) -> None:
        """Lose every item."""
        self._shared.items.evict()

    async def flush(self) -> None:
        """Lose everything."""
        self._shared.flush()

    async def disconnect(self, replica: int) -> None:
        """Nothing is connected."""


class Line:
    """One replica's connection to the shared cache: slow at times, and cut off until `cut_until`.

    A command may have been executed although no answer comes.
    """

    def __init__(self, shared: SharedCacheStore, random: Random) -> None:
        self.cut_until = 0.0
        self._shared = shared
        self._random = random

    async def connect(self) -> None:
        """The connection exists from the start."""

    async def lookup(self, asked: LookupRequest) -> LookupResult:
        """Call the shared cache."""
        return await self.over(lambda: self._shared.lookup(asked))

    async def store(
        self, asked: LookupRequest, generations: tuple[bytes, ...], value: bytes, lifetime: float
    ) -> None:
        """Call the shared cache."""
        await self.over(lambda: self._shared.store(asked, generations, value, lifetime))

    async def release(self, asked: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Call the shared cache."""
        await self.over(lambda: self._shared.release(asked, generations))

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Call the shared cache."""
        await self.over(lambda: self._shared.invalidate(tags, event))

    async def poll(
        self, epoch: bytes, after: int, most: int, progress_after: bytes = FIRST_PROGRESS
    ) -> PollResult:
        """Call the shared cache."""
        return await self.over(lambda: self._shared.poll(epoch, after, most, progress_after))

    async def note_progress(self, epoch: bytes, value: bytes) -> None:
        """Call the shared cache."""
        await self.over(lambda: self._shared.note_progress(epoch, value))

    async def renew(self, epoch: bytes) -> None:
        """Call the shared cache."""
        await self.over(lambda: self._shared.renew(epoch))

    async def close(self) -> None:
        """Leave the shared cache to the other replica."""

    async def over(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Send a command, and return its answer."""
        await self._wait()
        if asyncio.get_running_loop().time() < self.cut_until:
            raise StoreError("unreachable")
        answer = await ask()
        await self._wait()
        return answer

    async def _wait(self) -> None:
        delay = self._random.choice(_DELAYS)
        if delay:
            await asyncio.sleep(delay)


class ItemLine:
    """The same connection for commands to the items."""

    def __init__(self, line: Line, items: SharedItemStore) -> None:
        self._line = line
        self._items = items

    async def lookup(self, request: ItemsRequest) -> ItemsResult:
        """Call the shared cache."""
        return await self._line.over(lambda: self._items.lookup(request))

    async def store(self, epoch: bytes, items: Sequence[ItemToStore]) -> None:
        """Call the shared cache."""
        await self._line.over(lambda: self._items.store(epoch, items))

    async def apply(self, epoch: bytes, writes: Sequence[SharedWrite], event: bytes) -> None:
        """Call the shared cache."""
        await self._line.over(lambda: self._items.apply(epoch, writes, event))
