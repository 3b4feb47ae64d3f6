"""Rate limits: the number of calls of a principal per second, in all and for each table."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import floor
from typing import Protocol

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import ConfigurationError, RateLimited
from dynamodb_processor_server.runtime.sliding_window import SlidingWindowCounter


@dataclass(frozen=True, slots=True)
class RateClass:
    """A named set of limits; each principal of the class has the whole of them to itself.

    Attributes:
        calls_per_second: Calls per second, on average over the window.
        window: Seconds over which the average is taken, a whole number. A principal that was idle
            for a window may make the calls of a whole window at once.
        read_units_per_minute: Read units that reads may consume, on average and at once after a
            minute without any; None sets no limit.
        table_read_units_per_minute: The same for each single table.
        table_calls_per_second: Calls about each single table, also an average over the window; None
            sets no limit.
        planning_seconds_per_second: Seconds of processor time that each replica spends per second
            on decoding, parsing and planning requests and on evaluating conditions, on average;
            four times as many at once after some seconds without any. None sets no limit.
            Remembered plans and cached pages take none.
        calls_per_window: Calls in one window, at most.
        table_calls_per_window: The same for each single table.
    """

    calls_per_second: float
    window: int = 1
    read_units_per_minute: float | None = None
    table_read_units_per_minute: float | None = None
    table_calls_per_second: float | None = None
    planning_seconds_per_second: float | None = 0.25
    calls_per_window: int = field(init=False)
    table_calls_per_window: int | None = field(init=False)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError("window must be 1 second or more")
        for name in ("read_units_per_minute", "table_read_units_per_minute"):
            units = getattr(self, name)
            if units is not None and not 1 <= units <= 1_000_000_000:
                raise ValueError(f"{name} must be 1 to 1,000,000,000 units")
        share = self.planning_seconds_per_second
        if share is not None and not 0.001 <= share <= 1:
            raise ValueError("planning_seconds_per_second must be 0.001 to 1")
        for name in ("calls", "table_calls"):
            rate = getattr(self, f"{name}_per_second")
            calls = None if rate is None else _calls_in(self.window, f"{name}_per_second", rate)
            object.__setattr__(self, f"{name}_per_window", calls)

    @property
    def limits_reads(self) -> bool:
        """Whether calls about a table, or read units, are limited."""
        limits = (
            self.table_calls_per_second,
            self.read_units_per_minute,
            self.table_read_units_per_minute,
        )
        return limits != (None, None, None)

    def max_calls(self, table: str) -> int | None:
        """Return the most calls in a window, about a table or, without one, in all."""
        return self.table_calls_per_window if table else self.calls_per_window

    def exceeded_by(self, principal: Principal, table: str, retry_after: float) -> RateLimited:
        """Return the error that refuses a principal's calls for `retry_after` seconds."""
        limit = f"{self.max_calls(table)} calls in {self.window} s"
        return over_limit(principal, table, limit, retry_after)


def _calls_in(window: int, name: str, rate: float) -> int:
    if not 1 <= rate * window <= 1_000_000_000:
        raise ValueError(f"{name} times window must be 1 to 1,000,000,000 calls")
    # Rounded before the floor: 0.29 times 100 is a little under 29 in floating point.
    return floor(round(rate * window, 6))


def over_limit(principal: Principal, table: str, limit: str, retry_after: float) -> RateLimited:
    """Return the error for a principal that is over a limit, on a table or, without one, in all.

    Args:
        principal: The caller.
        table: The logical name of the table; empty for all of them.
        limit: The limit as text, such as "5 calls in 1 s".
        retry_after: Seconds.
    """
    subject = f"{principal.name}/{table}" if table else principal.name
    suffix = f" on {table}" if table else ""
    return RateLimited(subject, f"over the limit of {limit}{suffix}", retry_after)


class Limiter(Protocol):
    """Decides whether a call is within its principal's limits."""

    def charge(self, principal: Principal, table: str = "") -> Awaitable[None] | None:
        """Count a call against the principal's limit: now, or when the result is awaited.

        Args:
            principal: The caller.
            table: The logical name of the call's table, which must exist, to count it against the
                limit on that table; empty to count it against the limit in all.

        Raises:
            RateLimited: The limit is reached.
        """
        ...


class CallRateLimits:
    """Calls per second for each principal, over all of its keys, in all and for each table.

    Counts in a sliding window, in this process: with several replicas, each has the whole limit.
    The windows of the `limits` library's memory storage would do, but start a task with each hit to
    remove expired entries, which costs more than the rest of the hook chain.
    """

    def __init__(
        self,
        classes: Mapping[str, RateClass],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create unused limits.

        Args:
            classes: The rate classes by name.
            clock: Seconds, never going back.
        """
        self._classes = classes
        self._windows = SlidingWindowCounter(clock)

    def charge(self, principal: Principal, table: str = "") -> None:
        """Count a call against the principal's limit, on a table or in all.

        Raises:
            RateLimited: The limit is reached.
            ConfigurationError: The principal's rate class does not exist.
        """
        limit = self._classes.get(principal.rate_class)
        if limit is None:
            limit = self.limit_of(principal)  # which raises
        # As `max_calls` returns it: every call comes here.
        max_calls = limit.table_calls_per_window if table else limit.calls_per_window
        if max_calls is None:
            return
        key = principal.rate_class, principal.name, table
        if not self._windows.acquire(key, max_calls, limit.window):
            wait = self._windows.wait_for(key, max_calls, limit.window)
            raise limit.exceeded_by(principal, table, wait)

    def record(self, principal: Principal, table: str) -> None:
        """Count a call that the shared store accepted, for a principal and table with a limit."""
        key = principal.rate_class, principal.name, table
        self._windows.add(key, self.limit_of(principal).window)

    def limit_of(self, principal: Principal) -> RateClass:
        """Return a principal's rate class, or raise ConfigurationError."""
        limit = self._classes.get(principal.rate_class)
        if limit is None:
            raise ConfigurationError(f"the rate class {principal.rate_class} does not exist")
        return limit

    def used(self) -> Iterator[tuple[str, str, float]]:
        """Yield principals, tables (empty for all), and the used part of each limit.

        Safe in another thread.
        """
        for (name, principal, table), count in self._windows.counts(
            lambda name: self._classes[name].window
        ):
            max_calls = self._classes[name].max_calls(table)
            assert max_calls is not None, "calls without a limit are not counted"
            yield principal, table, count / max_calls
