"""Batches requests to the store that replicas share: one batch is under way at a time.

A batch of one costs almost as much as a batch of a hundred. Requests that arrive while a batch is
under way go with the next one, so the busier a replica is, the less each of its calls costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

_MAX_BATCH: Final = 100

_T = TypeVar("_T")


class Batcher(Generic[_T]):
    """Delivers items in order, at most 100 in a batch. `deliver` never raises."""

    def __init__(self, name: str, deliver: Callable[[list[_T]], Awaitable[None]]) -> None:
        self._name = name
        self._deliver = deliver
        self._waiting: list[_T] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, item: _T) -> None:
        """Deliver an item with the next batch."""
        self._waiting.append(item)
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=self._name)

    def take_pending(self) -> list[_T]:
        """Return the items that are not delivered yet, and do not deliver them."""
        waiting, self._waiting = self._waiting, []
        return waiting

    async def flush(self) -> None:
        """Wait until all items have been delivered."""
        while self._task is not None:
            await asyncio.wait((self._task,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = (
                    self._waiting[:_MAX_BATCH],
                    self._waiting[_MAX_BATCH:],
                )
                await self._deliver(batch)
        finally:
            self._task = None
