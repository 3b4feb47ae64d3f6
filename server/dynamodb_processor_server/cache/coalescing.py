"""Single flight: concurrent callers for the same page share one read.

A flight is a task of its own. A caller who leaves (deadline, cancellation) disturbs nobody; with
the last one the flight is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Final

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.reader import Page, PartialRead, ReadOptions

# A caller past its `answer_by` takes the first progress there is; this is how soon it notices.
_RECHECK_SECONDS: Final = 0.1


class _Flight:
    def __init__(self, task: asyncio.Task[Page], progress: PartialRead, began: float) -> None:
        self.task = task
        self.progress = progress
        self.began = began
        self.waiters = 0


class Flights:
    """The reads under way, by key. Times are of the event loop's clock."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}
        self._tasks: set[asyncio.Task[Page]] = set()  # those of unlisted flights as well

    def __len__(self) -> int:
        return len(self._flights)

    def can_join(self, key: Hashable, not_before: float) -> bool:
        """Return whether a flight for `key` is under way that began at `not_before` or later."""
        flight = self._flights.get(key)
        return (
            flight is not None and flight.began >= not_before and not flight.progress.stop_requested
        )

    async def join(self, key: Hashable, limits: ReadOptions) -> Page:
        """Wait for the flight of `key` as long as `limits` allow.

        When they do not, what the flight has read so far is returned as a TIME_BUDGET page; with
        nothing to show, DeadlineExceeded is raised. The flight goes on for the others; where there
        are none it gets a moment to end by itself, so that what it has read in advance is not lost.
        """
        flight = self._flights[key]
        flight.waiters += 1
        try:
            return await _await_page(flight, limits)
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                self._remove(key, flight)
                flight.task.cancel()

    def start(
        self,
        key: Hashable,
        read: Callable[[PartialRead], Coroutine[Any, Any, Page]],
        began: float,
        *,
        attended: bool = True,
    ) -> None:
        """Begin a flight; the caller joins it at once. A flight it replaces goes on unlisted.

        `began` is when the oldest of what it gives may have been read. One that is not `attended`
        goes on even if nobody waits for it.
        """
        progress = PartialRead()
        task = asyncio.create_task(read(progress), name="flight")
        self._tasks.add(task)
        flight = _Flight(task, progress, began)
        flight.waiters = 0 if attended else 1
        self._flights[key] = flight
        task.add_done_callback(lambda _: self._on_done(key, flight))

    async def close(self) -> None:
        """Cancel what is under way, and wait for its end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _on_done(self, key: Hashable, flight: _Flight) -> None:
        self._tasks.discard(flight.task)
        self._remove(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # marks it as seen: every waiter may have left by now

    def _remove(self, key: Hashable, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


async def _await_page(flight: _Flight, limits: ReadOptions) -> Page:
    loop = asyncio.get_running_loop()
    moment = min(limits.soft_deadline, limits.hard_deadline)
    while True:
        await asyncio.wait((flight.task,), timeout=max(0.0, moment - loop.time()))
        if flight.task.done():
            return flight.task.result()
        progress = flight.progress
        if progress.partial_page is not None:
            if flight.waiters > 1 or progress.stop_requested or loop.time() >= limits.hard_deadline:
                return progress.partial_page()
            progress.stop_requested = True
        elif loop.time() >= limits.hard_deadline:
            raise DeadlineExceeded("the deadline passed before anything was read")
        moment = min(loop.time() + _RECHECK_SECONDS, limits.hard_deadline)
