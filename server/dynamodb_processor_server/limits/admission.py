"""Admission: a bound on concurrent reads of DynamoDB, and on the reads that wait for a slot."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from dynamodb_processor_server.errors import Overloaded

_RESERVED: Final = 8  # one slot of so many is for other principals than any one
_SMOOTHING: Final = 0.2  # the weight of the latest time between two handovers in the average


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
        self._most = limit - limit // _RESERVED
        self._active: dict[str, int] = {}
        self._taken = 0
        self._calls = _FairQueue()
        self._rate = _ServiceRate(clock)

    @property
    def active(self) -> int:
        """The slots in use."""
        return self._taken

    @property
    def waiting(self) -> int:
        """The reads in the queue."""
        return self._calls.count

    @asynccontextmanager
    async def slot(self, principal: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Hold a slot for the time of the block; see `enter`."""
        await self.enter(principal, seconds)
        try:
            yield
        finally:
            self.leave(principal)

    async def enter(self, principal: str, seconds: float | None = None) -> None:
        """Take a slot, waiting for it in the queue.

        Args:
            principal: The principal of the call.
            seconds: The time left until the call's deadline, if it has one.

        Raises:
            Overloaded: The queue is full, or the slot came or would come too late.
        """
        if self.try_enter(principal):
            return
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


class _FairQueue:
    """The waiting calls by principal; the next principal to be served comes first."""

    def __init__(self) -> None:
        self.count = 0
        self._by_principal: dict[str, deque[asyncio.Future[bool]]] = {}

    def add(self, principal: str, waiter: asyncio.Future[bool]) -> None:
        """Put a call behind the others of its principal."""
        self._by_principal.setdefault(principal, deque()).append(waiter)
        self.count += 1

    def next(self, may_enter: Callable[[str], bool]) -> tuple[str, asyncio.Future[bool]] | None:
        """Take out the next call; the others of its principal go behind those of all principals."""
        for principal in [name for name in self._by_principal if may_enter(name)]:
            waiters = self._by_principal.pop(principal)
            while waiters:
                waiter = waiters.popleft()
                self.count -= 1
                if waiter.done():
                    continue  # cancelled, and still in the queue
                if waiters:
                    self._by_principal[principal] = waiters
                return principal, waiter
        return None

    def discard(self, principal: str, waiter: asyncio.Future[bool]) -> None:
        """Take out a call that waits no longer, if it is in the queue at all."""
        waiters = self._by_principal.get(principal)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            self._removed_one(principal)

    def make_room_for(self, principal: str) -> asyncio.Future[bool] | None:
        """Take out the latest call of the principal with most, None unless that is fairer."""
        most = max(self._by_principal, key=self._waiting_of, default=principal)
        if self._waiting_of(most) <= self._waiting_of(principal) + 1:
            return None
        waiter = self._by_principal[most].pop()
        self._removed_one(most)
        return waiter

    def ahead_of(self, principal: str) -> int:
        """Return the most calls that are served before another one of a principal."""
        own = self._waiting_of(principal)
        others = [waiters for name, waiters in self._by_principal.items() if name != principal]
        return own + sum(min(len(waiters), own + 1) for waiters in others)

    def _waiting_of(self, principal: str) -> int:
        return len(self._by_principal.get(principal, ()))

    def _removed_one(self, principal: str) -> None:
        if not self._by_principal[principal]:
            del self._by_principal[principal]
        self.count -= 1


class _ServiceRate:
    """The rate at which slots become free while calls wait; it costs nothing while none does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = 0.0
        self._interval = 0.0

    def begin(self) -> None:
        """Note that from now on a call waits."""
        self._since = self._clock()

    def note_handover(self) -> None:
        """Note that a slot was handed over."""
        now = self._clock()
        interval = now - self._since
        if self._interval:
            interval = self._interval + _SMOOTHING * (interval - self._interval)
        self._interval, self._since = interval, now

    def seconds(self, slots: int) -> float:
        """Return the seconds until that many slots are free; an overdue one counts for all."""
        return max(self._interval, self._clock() - self._since) * slots
