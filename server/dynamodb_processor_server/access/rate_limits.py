"""Rate limits: how many calls a principal may make per second."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import floor
from typing import Protocol

from limits import RateLimitItemPerSecond
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from dynamodb_processor_server.access.principals import Principal
from dynamodb_processor_server.errors import ConfigurationError, RateLimited


@dataclass(frozen=True, slots=True)
class RateClass:
    """Limits that principals may have in common; each has the whole of them to itself.

    Attributes:
        calls_per_second: Calls per second, on average over the window.
        window: Seconds over which the average is taken, a whole number. A principal that was idle
            for a window may make the calls of a whole window at once.
    """

    calls_per_second: float
    window: int = 1

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError("window must be 1 second or more")
        if not 1 <= self.calls_per_second * self.window <= 1_000_000_000:
            raise ValueError("calls_per_second times window must be 1 to 1,000,000,000 calls")

    @property
    def calls_per_window(self) -> int:
        """Calls in one window, at most."""
        # Rounded before it is cut: 0.29 times 100 is a little under 29 in floating point.
        return floor(round(self.calls_per_second * self.window, 6))


class Limiter(Protocol):
    """What decides whether a call is within its principal's limits."""

    async def charge(self, principal: Principal, table: str, calls: int = 1) -> None:
        """Take calls from what the principal has left.

        Args:
            principal: Who calls.
            table: The logical name of the table that the call reads; empty when it reads none.
            calls: How many calls it counts for.

        Raises:
            RateLimited: They are not left; nothing is taken.
        """
        ...


class CallRateLimits:
    """Calls per second for each principal, whichever table it reads and key it uses.

    Counts in a sliding window, in this process: with several replicas, each has the whole limit.
    """

    def __init__(
        self,
        classes: Mapping[str, RateClass],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create limits of which nothing has been used.

        Args:
            classes: The rate classes by name.
            clock: Seconds, never going back.
        """
        self._limits = {
            name: RateLimitItemPerSecond(limit.calls_per_window, limit.window, namespace=name)
            for name, limit in classes.items()
        }
        self._windows = _Windows(clock)
        self._strategy = SlidingWindowCounterRateLimiter(self._windows)

    async def charge(self, principal: Principal, table: str, calls: int = 1) -> None:
        """Take calls from what the principal has left; the table makes no difference here.

        Raises:
            RateLimited: They are not left; nothing is taken.
            ConfigurationError: The principal's rate class does not exist.
        """
        limit = self._limits.get(principal.rate_class)
        if limit is None:
            raise ConfigurationError(f"the rate class {principal.rate_class} does not exist")
        if not await self._strategy.hit(limit, principal.name, cost=calls):
            wait = self._windows.wait_for(
                limit.key_for(principal.name), limit.amount, limit.get_expiry(), calls
            )
            raise RateLimited(
                principal.name,
                f"over the limit of {limit.amount} calls in {limit.get_expiry()} s",
                wait,
            )


@dataclass(slots=True)
class _Window:
    """The calls of two adjacent windows, of which the later is the `index`-th since the epoch."""

    index: int
    previous: int
    current: int


class _Windows(MemoryStorage):
    """Sliding windows in memory, on a clock of ours.

    The library's own starts a task with each hit to look for what has expired, which more than
    doubles the cost of a hit, and reads the wall clock. A principal takes one small record here
    instead, which it keeps.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._clock = clock
        self._by_key: dict[str, _Window] = {}

    async def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        now = self._clock() / expiry
        window = self._at(key, now)
        if floor(window.previous * (1 - now % 1)) + window.current + amount > limit:
            return False
        window.current += amount
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = self._clock() / expiry
        window = self._at(key, now)
        left = (1 - now % 1) * expiry
        return window.previous, left, window.current, left + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        self._by_key.pop(key, None)

    def wait_for(self, key: str, limit: int, expiry: int, amount: int) -> float:
        """Return the seconds until `amount` can be acquired if nobody else acquires any.

        The window's weighted count falls in a straight line, so the moment can be computed. The
        whole of a window and the next is the answer when `amount` is above the limit.
        """
        now = self._clock() / expiry
        window = self._at(key, now)
        left = 1 - now % 1
        # The weighted count is rounded down, so it must be under this.
        room = limit - amount + 1
        if amount > limit:
            wait = left + 1
        elif window.current < room:
            wait = left - (room - window.current) / window.previous if window.previous else 0
        else:
            wait = left + 1 - room / window.current
        return max(0.0, wait) * expiry

    def _at(self, key: str, now: float) -> _Window:
        """Return the key's windows, moved on to `now`, which is counted in windows."""
        index = floor(now)
        window = self._by_key.get(key)
        if window is None:
            window = self._by_key[key] = _Window(index, 0, 0)
        elif window.index != index:
            window.previous = window.current if window.index == index - 1 else 0
            window.index, window.current = index, 0
        return window
