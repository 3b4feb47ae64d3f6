"""A bound on the bytes that concurrent work holds."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, TypeAlias

_Waiter: TypeAlias = tuple[int, asyncio.Future[None]]


class ByteBudget:
    """Divides a number of bytes between tasks, in the order in which they ask.

    For one event loop; not safe across threads.
    """

    def __init__(self, limit: int) -> None:
        """Create a budget of `limit` bytes."""
        self._limit: Final = limit
        self._free = limit
        self._waiters: deque[_Waiter] = deque()

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[None]:
        """Wait for `size` bytes, or for all where there are fewer, and hold them for the block."""
        size = min(size, self._limit)
        if self._waiters or size > self._free:
            await self._wait(size)
        else:
            self._free -= size
        try:
            yield
        finally:
            self._release(size)

    async def _wait(self, size: int) -> None:
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = size, granted
        self._waiters.append(waiter)
        try:
            await granted
        except asyncio.CancelledError:
            with suppress(ValueError):
                self._waiters.remove(waiter)
            was_granted = granted.done() and not granted.cancelled()
            self._release(size if was_granted else 0)
            raise

    def _release(self, size: int) -> None:
        self._free += size
        while self._waiters and self._waiters[0][0] <= self._free:
            wanted, granted = self._waiters.popleft()
            if not granted.done():
                self._free -= wanted
                granted.set_result(None)
