"""The reads of pages that callers share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from math import inf
from typing import Any, Final

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.reader import Page, PartialRead, ReadOptions
from dynamodb_processor_server.runtime.concurrency import wait_until
from dynamodb_processor_server.runtime.single_flight import Flight, SingleFlight

# A caller past its soft deadline takes the first progress there is; this is how soon it notices.
_RECHECK_SECONDS: Final = 0.1


class FollowerTimeout(Exception):
    """A caller has waited as long as it may for the read that another caller began."""


class PageFlight(Flight[Page]):
    """A read of one page that callers share.

    `began` is when its oldest data may have been read. It shows every write that was finished
    before `shows_until`, in seconds since the epoch; -inf where no caller asked for that. Neither
    holds for cached items on the page.
    """

    def __init__(self, task: asyncio.Task[Page], progress: PartialRead, began: float) -> None:
        super().__init__(task)
        self.progress = progress
        self.began = began
        self.shows_until = -inf


class PageFlights:
    """The reads of pages under way, by key. Times are of the event loop's clock."""

    def __init__(self) -> None:
        self._flights: SingleFlight[Hashable, PageFlight] = SingleFlight()

    def find(self, key: Hashable, since: float, shows: float = -inf) -> PageFlight | None:
        """Return the flight to join for `key`, if one began at `since` or later.

        It has to show every write that was finished before `shows`.
        """
        flight = self._flights.find(key)
        if flight is None or flight.began < since or flight.progress.stop_requested:
            return None
        return flight if flight.shows_until >= shows else None

    async def join(
        self, key: Hashable, flight: PageFlight, options: ReadOptions, patience: float = inf
    ) -> Page:
        """Wait for a flight until the deadlines of a caller.

        After them, the items that the flight has read so far are returned as a TIME_BUDGET page;
        without any, DeadlineExceeded is raised. The flight goes on for the others. A caller without
        others gives it a moment to end by itself, so that items read ahead are not lost.

        Raises FollowerTimeout after `patience` seconds, unless nobody else waits for the flight;
        then no further caller joins it.
        """
        self._flights.join(flight)
        progress = flight.progress
        progress.awaited_until = max(progress.awaited_until, options.hard_deadline)
        try:
            return await _await_page(flight, options, patience)
        except FollowerTimeout:
            self._flights.unlist(key, flight)
            raise
        finally:
            self._flights.leave(key, flight)

    def start(
        self,
        key: Hashable,
        read: Callable[[PartialRead], Coroutine[Any, Any, Page]],
        began: float,
        *,
        attended: bool = True,
    ) -> PageFlight:
        """Begin a flight; the caller joins it at once. A flight it replaces goes on unlisted.

        One that is not `attended` goes on even if nobody waits for it.
        """
        progress = PartialRead(awaited_until=-inf if attended else inf)
        task = asyncio.create_task(read(progress), name="flight")
        flight = self._flights.start(key, PageFlight(task, progress, began))
        if not attended:
            self._flights.join(flight)
        return flight

    async def close(self) -> None:
        """Cancel the flights under way, and wait for their end."""
        await self._flights.close()


async def _await_page(flight: PageFlight, options: ReadOptions, patience: float) -> Page:
    loop = asyncio.get_running_loop()
    moment = min(options.soft_deadline, options.hard_deadline)
    patient_until = loop.time() + patience
    while True:
        if await wait_until(flight.task, min(moment, patient_until)):
            return flight.task.result()
        if loop.time() >= patient_until and loop.time() < moment:
            if flight.waiters > 1:
                raise FollowerTimeout
            patient_until = inf  # the others have left, so it is this caller's own read
            continue
        progress = flight.progress
        if progress.partial_page is not None:
            late = loop.time() >= options.hard_deadline
            if flight.waiters > 1 or progress.stop_requested or late:
                return progress.partial_page()
            progress.stop_requested = True
        elif loop.time() >= options.hard_deadline:
            raise DeadlineExceeded("the deadline passed before anything was read")
        moment = min(loop.time() + _RECHECK_SECONDS, options.hard_deadline)
