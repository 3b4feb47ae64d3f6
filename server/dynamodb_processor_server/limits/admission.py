"""Admission: a bound on concurrent reads of DynamoDB, and on the reads that wait for a slot.

The readers take a slot for each page or batch. They stand between the cache and DynamoDB: a page of
the cache waits for no slot, callers that share a read share its slot, and a stream holds none while
its caller takes in a page.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Final

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.errors import Overloaded
from dynamodb_processor_server.limits.fair_queue import FairQueue, ServiceRate
from dynamodb_processor_server.reader import Caller, Page, PageRead, PageReader, ReadOptions, Usage

_RESERVED: Final = 8  # one slot of so many is for other principals than any one


class Admission:
    """A bound on concurrent reads, with a short queue that is served fairly.

    Principals in the queue are served one after the other, however many calls each has. So a call
    waits for at most one of each other principal before the first of its own is served. As a read
    may hold a slot for long, no principal has more than seven of eight slots: the others find some
    free. A full queue makes room for a principal with fewer calls, at the cost of the one with
    most. A call over these bounds, or one that would get its slot too late to use it, is refused at
    once: a long queue would only turn load into late responses. For one event loop; not safe across
    threads.

        async with admission.slot(principal, seconds):
            ...
    """

    def __init__(
        self,
        limit: int,
        queue: int,
        *,
        wait: float = 1.0,
        retry_after: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create it empty.

        Args:
            limit: Reads at once, at least 1.
            queue: Reads waiting beyond them, at least 0.
            wait: Seconds that a read waits at most.
            retry_after: Seconds after which a refused call may try again.
            clock: Seconds, never going back.
        """
        if limit < 1 or queue < 0:
            raise ValueError("limit must be at least 1, and queue at least 0")
        self._limit = limit
        self._queue = queue
        self._wait = wait
        self._retry_after = retry_after
        self._clock = clock
        self._most = limit - limit // _RESERVED
        self._active: dict[str, int] = {}
        self._taken = 0
        self._calls = FairQueue()
        self._rate = ServiceRate(clock)

    @property
    def active(self) -> int:
        """The slots in use."""
        return self._taken

    @property
    def waiting(self) -> int:
        """The reads in the queue."""
        return self._calls.count

    @asynccontextmanager
    async def slot(self, principal: str, seconds: float | None = None) -> AsyncIterator[float]:
        """Hold a slot for the time of the block, which gets the seconds waited; see `enter`."""
        waited = await self.enter(principal, seconds)
        try:
            yield waited
        finally:
            self.leave(principal)

    async def enter(self, principal: str, seconds: float | None = None) -> float:
        """Take a slot, waiting for it in the queue, and return the seconds waited.

        Args:
            principal: The principal of the call.
            seconds: The time left until the call's deadline, if it has one.

        Raises:
            Overloaded: The queue is full, or the slot came or would come too late.
        """
        if self.try_enter(principal):
            return 0.0
        began = self._clock()
        patience = self._wait if seconds is None else min(self._wait, seconds)
        waiter = self._queue_up(principal, patience)
        try:
            async with asyncio.timeout(patience):
                admitted = await waiter
        except BaseException as error:
            self._give_up(principal, waiter)
            if isinstance(error, TimeoutError):
                raise self._overloaded() from None
            raise
        if not admitted:
            raise self._overloaded()
        return self._clock() - began

    def leave(self, principal: str) -> None:
        """Give a slot of a principal back, to the next call in the queue if there is one."""
        active = self._active.get(principal)
        if active is None:
            raise RuntimeError("left more often than entered")
        if active == 1:
            del self._active[principal]
        else:
            self._active[principal] = active - 1
        following = self._calls.next(self._may_have_slot) if self._calls.count else None
        if following is None:
            self._taken -= 1
            return
        name, waiter = following
        self._active[name] = self._active.get(name, 0) + 1
        waiter.set_result(True)
        self._rate.note_handover()

    def try_enter(self, principal: str) -> bool:
        """Take a slot if there is one for the principal, and return whether it was taken."""
        # No call in the queue could have this slot: `leave` hands slots over, and a call that stops
        # waiting is out of the queue before any other call runs.
        active = self._active.get(principal, 0)
        if self._taken >= self._limit or active >= self._most:
            return False
        self._taken += 1
        self._active[principal] = active + 1
        return True

    def _may_have_slot(self, principal: str) -> bool:
        return self._active.get(principal, 0) < self._most

    def _queue_up(self, principal: str, patience: float) -> asyncio.Future[bool]:
        calls = self._calls
        ahead = calls.ahead_of(principal)
        if not calls.count:
            self._rate.begin()
        # A call with none ahead may always wait: its slot tells the service rate anew.
        elif ahead and self._rate.seconds(ahead + 1) > patience:
            raise self._overloaded()
        if calls.count >= self._queue:
            refused = calls.make_room_for(principal)
            if refused is None:
                raise self._overloaded()
            if not refused.done():
                refused.set_result(False)
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        calls.add(principal, waiter)
        return waiter

    def _give_up(self, principal: str, waiter: asyncio.Future[bool]) -> None:
        if not waiter.done() or waiter.cancelled():
            self._calls.discard(principal, waiter)
        elif waiter.result():
            # The slot was handed over just before the cancellation arrived.
            self.leave(principal)

    def _overloaded(self) -> Overloaded:
        return Overloaded("the server takes no more reads at the moment", self._retry_after)


class AdmissionReader:
    """Reads each page in a slot of its own, which its requests share. Raises Overloaded."""

    def __init__(self, reader: PageReader, admission: Admission) -> None:
        self._reader = reader
        self._admission = admission

    async def read_page(self, request: PageRead) -> Page:
        """Return a page, read in a slot; see `PageReader`."""
        caller = request.caller
        principal = caller.principal.name
        waited = 0.0
        if not self._admission.try_enter(principal):
            waited = await self._admission.enter(principal, _patience(request.options, caller))
        try:
            page = await self._reader.read_page(request)
        finally:
            self._admission.leave(principal)
        return page if not waited else page._replace(usage=_after_queue(page.usage, waited))


class AdmissionItemReader:
    """Gets the items of a batch in one slot, for all its rounds. Raises Overloaded."""

    def __init__(self, items: ItemReader, admission: Admission) -> None:
        self._items = items
        self._admission = admission

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return the items, got in a slot; see `ItemReader`."""
        principal = caller.principal.name
        async with self._admission.slot(principal, _patience(options, caller)) as waited:
            found = await self._items.get_items(request, options, caller)
        return found if not waited else replace(found, usage=_after_queue(found.usage, waited))


def _after_queue(usage: Usage, waited: float) -> Usage:
    """Return the use of DynamoDB by a read that waited for its slot."""
    return replace(usage, queue_time=usage.queue_time + waited)


def _patience(options: ReadOptions, caller: Caller) -> float:
    """Return the seconds for which a read waits for a slot: no longer than it can use it."""
    until = min(options.hard_deadline, caller.deadline)
    return until - asyncio.get_running_loop().time()
