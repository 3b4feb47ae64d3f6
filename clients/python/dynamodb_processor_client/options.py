"""The options of a call, and their messages."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

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
    """Answer from the cache if possible; otherwise read and store the result."""
    BYPASS = query_pb2.CACHE_MODE_BYPASS
    """Read without a cache look-up; store nothing."""
    REFRESH = query_pb2.CACHE_MODE_REFRESH
    """Read, and store the result."""
    ONLY_IF_CACHED = query_pb2.CACHE_MODE_ONLY_IF_CACHED
    """Answer from the cache or fail with `FailedPrecondition`; do not read."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """Whether a call may use cached answers, and how old they may be.

    Attributes:
        mode: How the cache is used.
        max_staleness: Maximum age of a cached answer; `None` for the table's own limit.
        not_before: The answer shows every write that was finished before this time. `None` for no
            such bound.
        not_before_token: The `freshness_token` of an earlier answer: this one shows nothing older.
            Several are joined with dots. Empty for no such bound.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `not_before` has no time zone, or is outside of the years 1 to 9999 in UTC.
    """

    mode: CacheMode = CacheMode.DEFAULT
    max_staleness: timedelta | None = None
    not_before: datetime | None = None
    not_before_token: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.mode, CacheMode):
            raise TypeError(f"a cache policy's mode is a CacheMode, not {self.mode!r}")
        check.instance("max_staleness", self.max_staleness, timedelta)
        if self.not_before is not None:
            check.aware_time("not_before", self.not_before)
        check.text("not_before_token", self.not_before_token)

    def to_message(self) -> query_pb2.CachePolicy:
        """Return the policy as a message."""
        return query_pb2.CachePolicy(
            mode=self.mode.value,
            max_staleness=_duration(self.max_staleness),
            not_before=_timestamp(self.not_before),
            not_before_token=self.not_before_token,
        )


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on the cost of one call. A page or stream that reaches one ends with a token.

    Attributes:
        max_scanned_items: Items that DynamoDB evaluates; 1 or more.
        max_read_units: Read capacity units; more than 0. The last read may exceed the limit.
        max_duration: Time spent reading; more than 0.

    Raises:
        TypeError: A limit has the wrong type.
        ValueError: A limit is 0 or less.
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
        # The rest of a stream or count cannot be requested with a limit of 0.
        if not is_positive:
            raise ValueError(f"a budget's {limit} is more than 0, not {getattr(self, limit)}")

    def to_message(self) -> query_pb2.Budget:
        """Return the budget as a message."""
        return query_pb2.Budget(
            max_scanned_items=self.max_scanned_items,
            max_read_units=self.max_read_units,
            max_duration=_duration(self.max_duration),
        )

    def after(self, spent: PageStats, elapsed: timedelta) -> Budget | None:
        """Return the remaining budget for a further call; `None` if a limit is reached.

        The service counts the cost of each call, so that of earlier calls is subtracted here.
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
"""Whether to count all matching items: `"exact"`, or a number at which counting stops."""


def total_options(option: TotalOption) -> query_pb2.TotalOptions | None:
    """Return the option as a message.

    Raises:
        TypeError: The option is neither `"exact"` nor an integer.
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
    """Return the consistency of reads as a value of the contract."""
    if check.flag("consistent", consistent):
        return query_pb2.CONSISTENCY_STRONG
    return query_pb2.CONSISTENCY_UNSPECIFIED


def budget_message(budget: Budget | None) -> query_pb2.Budget | None:
    """Return a budget as a message. Raise `TypeError` for another type."""
    given = check.instance("budget", budget, Budget)
    return None if given is None else given.to_message()


def page_size_field(page_size: int | None) -> int:
    """Return a page size of at most 32 bits; 0, the table's default, for `None`."""
    return 0 if page_size is None else check.integer("page_size", page_size, bits=32)


def token_field(argument: str, token: str | None) -> str:
    """Return a token; for `None` an empty one, which means the first page."""
    return "" if token is None else check.text(argument, token)


def _duration(value: timedelta | None) -> Duration | None:
    if value is None:
        return None
    duration = Duration()
    duration.FromTimedelta(value)
    return duration


def _timestamp(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    timestamp = Timestamp()
    timestamp.FromDatetime(value)
    return timestamp
