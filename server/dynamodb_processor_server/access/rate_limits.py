"""Rate limits: how many calls a principal may make per second."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Protocol

from dynamodb_processor_server.access.principals import Principal
from dynamodb_processor_server.access.windows import Windows
from dynamodb_processor_server.errors import ConfigurationError, RateLimited


@dataclass(frozen=True, slots=True)
class RateClass:
    """Limits that principals may have in common; each has the whole of them to itself.

    Attributes:
        calls_per_second: Calls per second, on average over the window.
        window: Seconds over which the average is taken, a whole number. A principal that was idle
            for a window may make the calls of a whole window at once.
        read_units_per_minute: Read units that reads may consume, on average and at once after a
            minute without any; None sets no limit.
        table_read_units_per_minute: The same for each single table.
        calls_per_window: Calls in one window, at most.
    """

    calls_per_second: float
    window: int = 1
    read_units_per_minute: float | None = None
    table_read_units_per_minute: float | None = None
    calls_per_window: int = field(init=False)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError("window must be 1 second or more")
        if not 1 <= self.calls_per_second * self.window <= 1_000_000_000:
            raise ValueError("calls_per_second times window must be 1 to 1,000,000,000 calls")
        for name in ("read_units_per_minute", "table_read_units_per_minute"):
            units = getattr(self, name)
            if units is not None and not 1 <= units <= 1_000_000_000:
                raise ValueError(f"{name} must be 1 to 1,000,000,000 units")
        # Rounded before it is cut: 0.29 times 100 is a little under 29 in floating point.
        calls = floor(round(self.calls_per_second * self.window, 6))
        object.__setattr__(self, "calls_per_window", calls)

    def exceeded_by(self, principal: Principal, retry_after: float) -> RateLimited:
        """Return how calls of a principal are refused for `retry_after` seconds."""
        message = f"over the limit of {self.calls_per_window} calls in {self.window} s"
        return RateLimited(principal.name, message, retry_after)


class Limiter(Protocol):
    """What decides whether a call is within its principal's limits."""

    def charge(self, principal: Principal) -> Awaitable[None] | None:
        """Take a call from what the principal has left, now or, where one has to wait, awaited.

        Raises:
            RateLimited: None is left.
        """
        ...


class CallRateLimits:
    """Calls per second for each principal, whichever table it reads and key it uses.

    Counts in a sliding window, in this process: with several replicas, each has the whole limit.
    The windows of the `limits` library's memory storage would do, but start a task with each hit to
    look for what has expired, which costs more than the rest of the hook chain.
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
        self._classes = classes
        self._windows = Windows(clock)

    def charge(self, principal: Principal) -> None:
        """Take a call from what the principal has left.

        Raises:
            RateLimited: None is left.
            ConfigurationError: The principal's rate class does not exist.
        """
        limit = self._classes.get(principal.rate_class)
        if limit is None:
            limit = self.limit_of(principal)  # which raises
        key = principal.rate_class, principal.name
        amount = limit.calls_per_window
        if not self._windows.acquire(key, amount, limit.window):
            raise limit.exceeded_by(principal, self._windows.wait_for(key, amount, limit.window))

    def note(self, principal: Principal) -> None:
        """Count a call that was let through elsewhere."""
        key = principal.rate_class, principal.name
        self._windows.add(key, self.limit_of(principal).window)

    def limit_of(self, principal: Principal) -> RateClass:
        """Return the limits that hold for a principal, or raise ConfigurationError."""
        limit = self._classes.get(principal.rate_class)
        if limit is None:
            raise ConfigurationError(f"the rate class {principal.rate_class} does not exist")
        return limit

    def used(self) -> Iterator[tuple[str, float]]:
        """Yield principals, and what part of its limit each uses by now; safe in another thread."""
        for (name, principal), count in self._windows.counts(
            lambda name: self._classes[name].window
        ):
            yield principal, count / self._classes[name].calls_per_window
