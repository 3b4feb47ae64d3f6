"""Single flight: concurrent callers of equal calls share one execution.

A flight is one execution, a task of its own. A caller that leaves (deadline, cancellation) does not
disturb the others; when the last one leaves, the flight is cancelled.
"""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

V = TypeVar("V")
K = TypeVar("K")
F = TypeVar("F", bound="Flight[Any]")


class Flight(Generic[V]):
    """One execution under way, and the number of callers that wait for it."""

    def __init__(self, task: asyncio.Task[V]) -> None:
        self.task = task
        self.waiters = 0


class SingleFlight(Generic[K, F]):
    """The flights under way, by key."""

    def __init__(self) -> None:
        self._flights: dict[K, F] = {}
        self._tasks: set[asyncio.Task[Any]] = set()  # those of unlisted flights as well

    def find(self, key: K) -> F | None:
        """Return the flight that a call with this key may join."""
        return self._flights.get(key)

    def start(self, key: K, flight: F) -> F:
        """List a flight for others to join. A flight that it replaces goes on unlisted."""
        self._flights[key] = flight
        self._tasks.add(flight.task)
        flight.task.add_done_callback(lambda _: self._on_done(key, flight))
        return flight

    def join(self, flight: F) -> None:
        """Count a caller that waits for a flight; it must leave."""
        flight.waiters += 1

    def leave(self, key: K, flight: F) -> None:
        """Count off a caller; the last one cancels a flight that is still under way."""
        flight.waiters -= 1
        if not flight.waiters and not flight.task.done():
            self.unlist(key, flight)
            flight.task.cancel()

    def unlist(self, key: K, flight: F) -> None:
        """Let no further caller join a flight; it goes on for those who wait for it."""
        if self._flights.get(key) is flight:
            del self._flights[key]

    def forget(self) -> None:
        """Let no further caller join the flights under way: their results may be out of date."""
        self._flights.clear()

    async def close(self) -> None:
        """Cancel all flights, unlisted ones too, and wait for their end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, key: K, flight: F) -> None:
        self._tasks.discard(flight.task)
        self.unlist(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # marks it as seen: every waiter may have left by now
