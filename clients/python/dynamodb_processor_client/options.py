"""What a caller may ask for beside the condition, and how it becomes a request."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.pages import PageStats


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = enum.auto()


UNSET = Unset.UNSET
"""The default of `timeout`: the timeout that the client was made with."""

Timeout: TypeAlias = float | Unset | None
"""The seconds until a deadline; `None` for no deadline."""


class CacheMode(enum.Enum):
    """How a call uses the service's cache."""

    DEFAULT = query_pb2.CACHE_MODE_DEFAULT
    """Answer from the cache where possible, else read and store."""
    BYPASS = query_pb2.CACHE_MODE_BYPASS
    """Neither look in the cache nor store."""
    REFRESH = query_pb2.CACHE_MODE_REFRESH
    """Read, and store what was read."""
    ONLY_IF_CACHED = query_pb2.CACHE_MODE_ONLY_IF_CACHED
    """Answer from the cache or fail with `FailedPrecondition`; nothing is read."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Which cached answers are welcome.

    Attributes:
        mode: How the cache is used.
        max_staleness: Accept answers up to this old; `None` means as old as the table allows.

    Raises:
        TypeError: `mode` is no `CacheMode`, or `max_staleness` no `timedelta`.
    """

    mode: CacheMode = CacheMode.DEFAULT
    max_staleness: timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.mode, CacheMode):
            raise TypeError(f"a cache policy's mode is a CacheMode, not {self.mode!r}")
        check.instance("max_staleness", self.max_staleness, timedelta)

    def to_message(self) -> query_pb2.CachePolicy:
        """Return the policy as the service takes it."""
        return query_pb2.CachePolicy(
            mode=self.mode.value, max_staleness=_duration(self.max_staleness)
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on what one call may cost. One that is reached ends the page or stream with a token.

    Attributes:
        max_scanned_items: Items evaluated by DynamoDB; 1 or more.
        max_read_units: Read capacity units; more than 0. The last read may overshoot.
        max_duration: Time spent reading; more than 0.

    Raises:
        TypeError: A limit is of another type.
        ValueError: A limit is not more than 0.
    """

    max_scanned_items: int | None = None
    max_read_units: float | None = None
    max_duration: timedelta | None = None

    def __post_init__(self) -> None:
        if self.max_scanned_items is not None:
            items = check.integer("max_scanned_items", self.max_scanned_items)
            self._check("max_scanned_items", is_positive=items > 0)
        if self.max_read_units is not None:
            units = check.number("max_read_units", self.max_read_units)
            self._check("max_read_units", is_positive=units > 0)
        if self.max_duration is not None:
            check.instance("max_duration", self.max_duration, timedelta)
            self._check("max_duration", is_positive=self.max_duration > timedelta())

    def _check(self, limit: str, *, is_positive: bool) -> None:
        # A limit of nothing is none that the rest of a call could be asked with.
        if not is_positive:
            raise ValueError(f"a budget's {limit} is more than 0, not {getattr(self, limit)}")

    def to_message(self) -> query_pb2.Budget:
        """Return the budget as the service takes it."""
        return query_pb2.Budget(
            max_scanned_items=self.max_scanned_items,
            max_read_units=self.max_read_units,
            max_duration=_duration(self.max_duration),
        )

    def after(self, spent: PageStats, elapsed: timedelta) -> Budget | None:
        """Return what is left for a resumed call; `None` when one of the limits is reached.

        The service counts per call, so what earlier calls of a stream took is taken off here.
        """
        scanned, units, duration = self.max_scanned_items, self.max_read_units, self.max_duration
        if scanned is not None:
            scanned -= spent.items_scanned
        if units is not None:
            units -= spent.read_units
        if duration is not None:
            duration -= elapsed
        is_over = (
            (scanned is not None and scanned <= 0)
            or (units is not None and units <= 0)
            or (duration is not None and duration <= timedelta())
        )
        return None if is_over else Budget(scanned, units, duration)


TotalOption: TypeAlias = int | Literal["exact"] | None
"""Whether to count all that a query matches: `"exact"` counts all, a number up to there."""


def total_options(option: TotalOption) -> query_pb2.TotalOptions | None:
    """Return what to count as the service takes it.

    Raises:
        TypeError: It is no such option.
    """
    if option is None:
        return None
    if option == "exact":
        return query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_EXACT)
    if isinstance(option, bool) or not isinstance(option, int):
        raise TypeError(f'a total is "exact" or a number to count up to, not {option!r}')
    up_to = check.integer("a total", option)
    return query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_BOUNDED, up_to=up_to)


def consistency(consistent: bool) -> query_pb2.Consistency.ValueType:
    """Return how to read, as the service takes it."""
    if check.flag("consistent", consistent):
        return query_pb2.CONSISTENCY_STRONG
    return query_pb2.CONSISTENCY_UNSPECIFIED


def budget_message(budget: Budget | None) -> query_pb2.Budget | None:
    """Return a budget as the service takes it. Raise TypeError for what is none."""
    given = check.instance("budget", budget, Budget)
    return None if given is None else given.to_message()


def cache_message(cache: CachePolicy | None) -> query_pb2.CachePolicy | None:
    """Return a cache policy as the service takes it. Raise TypeError for what is none."""
    given = check.instance("cache", cache, CachePolicy)
    return None if given is None else given.to_message()


def page_size_field(page_size: int | None) -> int:
    """Return a page size that the request's field holds; 0, the table's default, for `None`."""
    return 0 if page_size is None else check.integer("page_size", page_size, bits=32)


def token_field(argument: str, token: str | None) -> str:
    """Return a token; empty, as the first call of a traversal has it, for `None`."""
    return "" if token is None else check.text(argument, token)


def _duration(value: timedelta | None) -> Duration | None:
    if value is None:
        return None
    duration = Duration()
    duration.FromTimedelta(value)
    return duration
