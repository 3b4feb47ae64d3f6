"""A semaphore that is fair to owners: it serves them in rotation."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class _Waiter:
    """A waiting task; `granted_to` gets the owner to whose slots it counts."""

    granted_to: asyncio.Future[str]
    owners: set[str] = field(default_factory=set)


class FairSemaphore:
    """A bound on concurrent work that is divided between owners.

    Each owner in rotation gets one slot, however much of its work waits. Work that several owners
    wait for gets the first slot of any of them. For one event loop; not safe across threads.
    """

    def __init__(self, limit: int, limit_per_owner: int) -> None:
        """Create it without work.

        Args:
            limit: The number of slots.
            limit_per_owner: The most slots of one owner; work without an owner has no such limit.
        """
        self._limit = limit
        self._limit_per_owner = limit_per_owner
        self._active: Counter[str] = Counter()
        self._waiters: dict[str, _Waiter] = {}
        self._queues: dict[str, deque[_Waiter]] = {}

    @asynccontextmanager
    async def acquire(self, name: str, owner: str) -> AsyncIterator[None]:
        """Wait for a slot, and hold it for the time of the block.

        `name` is unique to the work; no other waiting work has it.
        """
        if self._has_room(owner) and not self._queues:
            self._active[owner] += 1
        else:
            owner = await self._wait(name, owner)
        try:
            yield
        finally:
            self._release(owner)

    def join(self, name: str, owner: str) -> None:
        """Let waiting work also use a slot of this owner."""
        waiter = self._waiters.get(name)
        if waiter is not None and owner not in waiter.owners:
            self._enqueue(waiter, owner)
            self._start_next()

    async def _wait(self, name: str, owner: str) -> str:
        waiter = _Waiter(asyncio.get_running_loop().create_future())
        self._waiters[name] = waiter
        self._enqueue(waiter, owner)
        self._start_next()
        try:
            return await waiter.granted_to
        except asyncio.CancelledError:
            if waiter.granted_to.done() and not waiter.granted_to.cancelled():
                self._release(waiter.granted_to.result())  # it had just been granted a slot
            raise
        finally:
            if self._waiters.get(name) is waiter:
                del self._waiters[name]
            self._dequeue(waiter)

    def _release(self, owner: str) -> None:
        self._active[owner] -= 1
        if not self._active[owner]:
            del self._active[owner]
        self._start_next()

    def _enqueue(self, waiter: _Waiter, owner: str) -> None:
        waiter.owners.add(owner)
        self._queues.setdefault(owner, deque()).append(waiter)

    def _dequeue(self, waiter: _Waiter) -> None:
        for owner in waiter.owners:
            queue = self._queues.get(owner)
            if queue is not None:
                with suppress(ValueError):
                    queue.remove(waiter)
                if not queue:
                    del self._queues[owner]
        waiter.owners.clear()

    def _has_room(self, owner: str) -> bool:
        own = self._active.get(owner, 0)
        return self._active.total() < self._limit and (not owner or own < self._limit_per_owner)

    def _start_next(self) -> None:
        while (owner := next(filter(self._has_room, self._queues), None)) is not None:
            queue = self._queues.pop(owner)
            waiter = queue[0]
            self._queues[owner] = queue  # its next slot comes after those of all other owners
            self._dequeue(waiter)
            if not waiter.granted_to.done():
                self._active[owner] += 1
                waiter.granted_to.set_result(owner)
