"""Admission: how many reads of DynamoDB run at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

from dynamodb_processor_server.errors import Overloaded

_SMOOTHING: Final = 0.2  # the weight of the latest turn in the average time between turns


class Admission:
    """A bound on concurrent reads, with a short queue that is served fairly.

    Principals that wait take turns, whoever has how many calls in the queue, so a call waits for at
    most one of each other principal before the first of its own is served. A full queue makes room
    for who has fewer waiting, at the cost of who has the most. Whoever is over both bounds, or
    would get its turn too late to use it, is refused at once: a long queue would only turn load
    into late answers. For one event loop; not safe across threads.

        async with admission:
            ...

    Where a place is mostly free, the same without a coroutine:

        if not admission.try_enter():
            await admission.enter(principal, seconds)
        try:
            ...
        finally:
            admission.leave()
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
            wait: Seconds that one waits at most.
            retry_after: Seconds after which the refused may try again.
            clock: Seconds, never going back.
        """
        if limit < 1 or queue < 0:
            raise ValueError("limit must be at least 1, and queue at least 0")
        self._limit = limit
        self._queue = queue
        self._wait = wait
        self._retry_after = retry_after
        self._active = 0
        self._waiters = _TakingTurns()
        self._pace = _Pace(clock)

    @property
    def active(self) -> int:
        """The places taken."""
        return self._active

    @property
    def waiting(self) -> int:
        """The reads in the queue."""
        return self._waiters.count

    def try_enter(self) -> bool:
        """Take a place if one is free and nobody waits for it, and return whether it was taken."""
        # Nobody waits while a place is free: `leave` hands it on, and who stops waiting is out of
        # the queue before anyone else runs.
        if self._active >= self._limit:
            return False
        self._active += 1
        return True

    async def enter(self, principal: str = "", seconds: float | None = None) -> None:
        """Take a place, waiting for it in the queue.

        Args:
            principal: Whose call it is; principals take turns.
            seconds: What is left until the call's deadline, if it has one.

        Raises:
            Overloaded: The queue is full, the turn would come too late, or the wait was too long.
        """
        if self.try_enter():
            return
        patience = self._wait if seconds is None else min(self._wait, seconds)
        turn = self._queue_up(principal, patience)
        try:
            async with asyncio.timeout(patience):
                admitted = await turn
        except BaseException as error:
            self._give_up(principal, turn)
            if isinstance(error, TimeoutError):
                raise self._overloaded() from None
            raise
        if not admitted:
            raise self._overloaded()

    def leave(self) -> None:
        """Give a place back: to whose turn it is, if anyone waits."""
        turn = self._waiters.next()
        if turn is not None:
            turn.set_result(True)
            self._pace.turned()
            return
        if self._active == 0:
            raise RuntimeError("left more often than entered")
        self._active -= 1

    def _queue_up(self, principal: str, patience: float) -> asyncio.Future[bool]:
        waiters = self._waiters
        ahead = waiters.ahead_of(principal)
        if not waiters.count:
            self._pace.begin()
        # Who finds nobody ahead may always wait: from its turn the pace is learned anew.
        elif ahead and self._pace.seconds(ahead + 1) > patience:
            raise self._overloaded()
        if waiters.count >= self._queue:
            refused = waiters.make_room_for(principal)
            if refused is None:
                raise self._overloaded()
            if not refused.done():
                refused.set_result(False)
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        waiters.add(principal, turn)
        return turn

    def _give_up(self, principal: str, turn: asyncio.Future[bool]) -> None:
        if not turn.done() or turn.cancelled():
            self._waiters.discard(principal, turn)
        elif turn.result():
            # The place was handed over just before the cancellation arrived.
            self.leave()

    def _overloaded(self) -> Overloaded:
        return Overloaded("the server takes no more reads at the moment", self._retry_after)

    async def __aenter__(self) -> None:
        await self.enter()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


class _TakingTurns:
    """Who waits, by principal; the principal whose turn is next comes first."""

    def __init__(self) -> None:
        self.count = 0
        self._by_principal: dict[str, deque[asyncio.Future[bool]]] = {}

    def add(self, principal: str, turn: asyncio.Future[bool]) -> None:
        """Put a call behind the others of its principal."""
        self._by_principal.setdefault(principal, deque()).append(turn)
        self.count += 1

    def next(self) -> asyncio.Future[bool] | None:
        """Take out the call whose turn it is; its principal's others come after everyone's."""
        while self._by_principal:
            principal = next(iter(self._by_principal))
            turns = self._by_principal.pop(principal)
            while turns:
                turn = turns.popleft()
                self.count -= 1
                if turn.done():
                    continue  # cancelled, and not yet told: that was no turn
                if turns:
                    self._by_principal[principal] = turns
                return turn
        return None

    def discard(self, principal: str, turn: asyncio.Future[bool]) -> None:
        """Take out a call that waits no longer, if it is in the queue at all."""
        turns = self._by_principal.get(principal)
        if turns is not None and turn in turns:
            turns.remove(turn)
            self._took_out(principal)

    def make_room_for(self, principal: str) -> asyncio.Future[bool] | None:
        """Take out the latest call of who has most, None unless that is fairer than before."""
        most = max(self._by_principal, key=self._waiting_of, default=principal)
        if self._waiting_of(most) <= self._waiting_of(principal) + 1:
            return None
        turn = self._by_principal[most].pop()
        self._took_out(most)
        return turn

    def ahead_of(self, principal: str) -> int:
        """Return how many calls are served before another one of a principal, at most."""
        own = self._waiting_of(principal)
        others = self._by_principal.items()
        return own + sum(min(len(turns), own + 1) for name, turns in others if name != principal)

    def _waiting_of(self, principal: str) -> int:
        return len(self._by_principal.get(principal, ()))

    def _took_out(self, principal: str) -> None:
        if not self._by_principal[principal]:
            del self._by_principal[principal]
        self.count -= 1


class _Pace:
    """How fast places become free while calls wait for them; costs nothing while none does."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since = 0.0
        self._interval = 0.0

    def begin(self) -> None:
        """Note that from now on someone waits."""
        self._since = self._clock()

    def turned(self) -> None:
        """Note that a place was handed on."""
        now = self._clock()
        interval = now - self._since
        if self._interval:
            interval = self._interval + _SMOOTHING * (interval - self._interval)
        self._interval, self._since = interval, now

    def seconds(self, turns: int) -> float:
        """Return how long that many turns take; a turn that is overdue counts for all."""
        return max(self._interval, self._clock() - self._since) * turns
