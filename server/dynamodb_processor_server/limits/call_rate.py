"""Rate limits: how many calls a principal may make per second, in all and about each table."""

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
    """Limits that principals may have in common; each has the whole of them to itself.

    Attributes:
        calls_per_second: Calls per second, on average over the window.
        window: Seconds over which the average is taken, a whole number. A principal that was idle
            for a window may make the calls of a whole window at once.
        read_units_per_minute: Read units that reads may consume, on average and at once after a
            minute without any; None sets no limit.
        table_read_units_per_minute: The same for each single table.
        table_calls_per_second: Calls about each single table, counted as all are; None sets no
            limit.
        planning_seconds_per_second: Seconds of processor that each replica spends per second on
            decoding, parsing and planning requests and on evaluating conditions, on average; four
            times as many at once after a while without any. None sets no limit. What is remembered
            or cached takes none.
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

    def most_calls(self, table: str) -> int | None:
        """Return how many calls a window may have, about a table or, with none, in all."""
        return self.table_calls_per_window if table else self.calls_per_window

    def exceeded_by(self, principal: Principal, table: str, retry_after: float) -> RateLimited:
        """Return how calls of a principal are refused for `retry_after` seconds."""
        limit = f"{self.most_calls(table)} calls in {self.window} s"
        return over_limit(principal, table, limit, retry_after)


def _calls_in(window: int, name: str, rate: float) -> int:
    if not 1 <= rate * window <= 1_000_000_000:
        raise ValueError(f"{name} times window must be 1 to 1,000,000,000 calls")
    # Rounded before it is cut: 0.29 times 100 is a little under 29 in floating point.
    return floor(round(rate * window, 6))


def over_limit(principal: Principal, table: str, limit: str, retry_after: float) -> RateLimited:
    """Return how a principal is refused that is over a limit, be it on a table or, without, on all.

    Args:
        principal: Who calls.
        table: The logical name of the table; empty for all of them.
        limit: How much of what there may be in which time.
        retry_after: Seconds.
    """
    subject = f"{principal.name}/{table}" if table else principal.name
    place = f" on {table}" if table else ""
    return RateLimited(subject, f"over the limit of {limit}{place}", retry_after)


class Limiter(Protocol):
    """What decides whether a call is within its principal's limits."""

    def charge(self, principal: Principal, table: str = "") -> Awaitable[None] | None:
        """Take a call from what the principal has left, now or, where one has to wait, awaited.

        Args:
            principal: Who calls.
            table: The logical name of the table that the call is about, which exists, to take it
                from what is left there; empty to take it from what is left in all.

        Raises:
            RateLimited: None is left.
        """
        ...


class CallRateLimits:
    """Calls per second for each principal, whichever key it uses, in all and about each table.

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
        self._windows = SlidingWindowCounter(clock)

    def charge(self, principal: Principal, table: str = "") -> None:
        """Take a call from what the principal has left, on a table or in all.

        Raises:
            RateLimited: None is left.
            ConfigurationError: The principal's rate class does not exist.
        """
        limit = self._classes.get(principal.rate_class)
        if limit is None:
            limit = self.limit_of(principal)  # which raises
        most = limit.most_calls(table)
        if most is None:
            return
        key = principal.rate_class, principal.name, table
        if not self._windows.acquire(key, most, limit.window):
            wait = self._windows.wait_for(key, most, limit.window)
            raise limit.exceeded_by(principal, table, wait)

    def note(self, principal: Principal, table: str) -> None:
        """Count a call that was let through elsewhere, where there is a limit."""
        key = principal.rate_class, principal.name, table
        self._windows.add(key, self.limit_of(principal).window)

    def limit_of(self, principal: Principal) -> RateClass:
        """Return the limits that hold for a principal, or raise ConfigurationError."""
        limit = self._classes.get(principal.rate_class)
        if limit is None:
            raise ConfigurationError(f"the rate class {principal.rate_class} does not exist")
        return limit

    def used(self) -> Iterator[tuple[str, str, float]]:
        """Yield principals, tables (empty for all), and the part of its calls that each has made.

        Safe in another thread.
        """
        for (name, principal, table), count in self._windows.counts(
            lambda name: self._classes[name].window
        ):
            most = self._classes[name].most_calls(table)
            assert most is not None, "what has no limit is not counted"
            yield principal, table, count / most
