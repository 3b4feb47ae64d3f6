"""Admission: how many reads of DynamoDB run at once, and how many may wait for their turn."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from dynamodb_processor_server.errors import Overloaded

_RESERVED: Final = 8  # one place of so many is for other principals than any one
_SMOOTHING: Final = 0.2  # the weight of the latest turn in the average time between turns


class Admission:
    """A bound on concurrent reads, with a short queue that is served fairly.

    Principals that wait take turns, whoever has how many calls in the queue, so a call waits for at
    most one of each other principal before the first of its own is served. As a read may take a
    place for long, no principal has more than seven of eight places: the others find some free. A
    full queue makes room for who has fewer waiting, at the cost of who has the most. Whoever is
    over these bounds, or would get its turn too late to use it, is refused at once: a long queue
    would only turn load into late answers. For one event loop; not safe across threads.

        async with admission.place(principal, seconds):
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
        self._most = limit - limit // _RESERVED
        self._active: dict[str, int] = {}
        self._taken = 0
        self._waiters = _FairQueue()
        self._pace = _ServiceRate(clock)

    @property
    def active(self) -> int:
        """The places taken."""
        return self._taken

    @property
    def waiting(self) -> int:
        """The reads in the queue."""
        return self._waiters.count

    @asynccontextmanager
    async def place(self, principal: str, seconds: float | None = None) -> AsyncIterator[None]:
        """Have a place for as long as the block takes; see `enter`."""
        await self.enter(principal, seconds)
        try:
            yield
        finally:
            self.leave(principal)

    async def enter(self, principal: str, seconds: float | None = None) -> None:
        """Take a place, waiting for it in the queue.

        Args:
            principal: Whose call it is; principals take turns.
            seconds: What is left until the call's deadline, if it has one.

        Raises:
            Overloaded: The queue is full, the turn would come too late, or the wait was too long.
        """
        if self.try_enter(principal):
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

    def leave(self, principal: str) -> None:
        """Give a place of a principal's back: to whose turn it is, if anyone waits for it."""
        active = self._active.get(principal)
        if active is None:
            raise RuntimeError("left more often than entered")
        if active == 1:
            del self._active[principal]
        else:
            self._active[principal] = active - 1
        following = self._waiters.next(self._has_a_place_for) if self._waiters.count else None
        if following is None:
            self._taken -= 1
            return
        name, turn = following
        self._active[name] = self._active.get(name, 0) + 1
        turn.set_result(True)
        self._pace.turned()

    def try_enter(self, principal: str) -> bool:
        """Take a place if there is one for the principal, and return whether it was taken."""
        # Nobody else who might have it waits for it: `leave` hands it on, and who stops waiting is
        # out of the queue before anyone else runs.
        active = self._active.get(principal, 0)
        if self._taken >= self._limit or active >= self._most:
            return False
        self._taken += 1
        self._active[principal] = active + 1
        return True

    def _has_a_place_for(self, principal: str) -> bool:
        return self._active.get(principal, 0) < self._most

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
            self.leave(principal)

    def _overloaded(self) -> Overloaded:
        return Overloaded("the server takes no more reads at the moment", self._retry_after)


class _FairQueue:
    """Who waits, by principal; the principal whose turn is next comes first."""

    def __init__(self) -> None:
        self.count = 0
        self._by_principal: dict[str, deque[asyncio.Future[bool]]] = {}

    def add(self, principal: str, turn: asyncio.Future[bool]) -> None:
        """Put a call behind the others of its principal."""
        self._by_principal.setdefault(principal, deque()).append(turn)
        self.count += 1

    def next(self, may_enter: Callable[[str], bool]) -> tuple[str, asyncio.Future[bool]] | None:
        """Take out the call whose turn it is; its principal's others come after everyone's."""
        for principal in [name for name in self._by_principal if may_enter(name)]:
            turns = self._by_principal.pop(principal)
            while turns:
                turn = turns.popleft()
                self.count -= 1
                if turn.done():
                    continue  # cancelled, and not yet told: that was no turn
                if turns:
                    self._by_principal[principal] = turns
                return principal, turn
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


class _ServiceRate:
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
