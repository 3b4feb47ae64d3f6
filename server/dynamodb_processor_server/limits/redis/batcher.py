"""Carries questions to the store that replicas share: one message at a time, together.

A message costs what a hundred questions in it do, almost: what comes while one is under way goes
with the next, so the busier a replica is, the less each of its calls costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

_MOST_AT_ONCE: Final = 100

_T = TypeVar("_T")


class Batcher(Generic[_T]):
    """Delivers what it is given, in order, at most a hundred at once. `deliver` never raises."""

    def __init__(self, name: str, deliver: Callable[[list[_T]], Awaitable[None]]) -> None:
        self._name = name
        self._deliver = deliver
        self._waiting: list[_T] = []
        self._delivering: asyncio.Task[None] | None = None

    def add(self, item: _T) -> None:
        """Deliver an item soon."""
        self._waiting.append(item)
        if self._delivering is None:
            self._delivering = asyncio.create_task(self._run(), name=self._name)

    def remove(self) -> list[_T]:
        """Return what has not been delivered, which then is not."""
        waiting, self._waiting = self._waiting, []
        return waiting

    async def flush(self) -> None:
        """Wait until everything has been delivered."""
        while self._delivering is not None:
            await asyncio.wait((self._delivering,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = (
                    self._waiting[:_MOST_AT_ONCE],
                    self._waiting[_MOST_AT_ONCE:],
                )
                await self._deliver(batch)
        finally:
            self._delivering = None
