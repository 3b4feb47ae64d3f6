"""The queue of calls that wait for admission, and the rate at which they get slots."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

_SMOOTHING: Final = 0.2  # the weight of the latest time between two handovers in the average


class FairQueue:
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


class ServiceRate:
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
