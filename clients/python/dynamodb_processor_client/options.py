"""What a caller may ask for beside the condition, and how it becomes a request."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias

from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client.conditions import Condition, render
from dynamodb_processor_client.pages import PageStats
from dynamodb_processor_client.values import Value, encode


class Default(enum.Enum):
    """The type of `DEFAULT`."""

    DEFAULT = enum.auto()


DEFAULT = Default.DEFAULT
"""For a call's `timeout`: the client's own. (`None` means no deadline.)"""


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
        TypeError: `mode` is no `CacheMode`.
    """

    mode: CacheMode = CacheMode.DEFAULT
    max_staleness: timedelta | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.mode, CacheMode):
            raise TypeError(f"a cache policy's mode is a CacheMode, not {self.mode!r}")

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
    """

    max_scanned_items: int | None = None
    max_read_units: float | None = None
    max_duration: timedelta | None = None

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


TotalWish: TypeAlias = int | Literal["exact"] | None
"""Whether to count all that a query matches: `"exact"` counts all, a number up to there."""


def total_options(wish: TotalWish) -> query_pb2.TotalOptions | None:
    """Return what to count as the service takes it.

    Raises:
        TypeError: It is no such wish.
    """
    if wish is None:
        return None
    if wish == "exact":
        return query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_EXACT)
    if isinstance(wish, bool) or not isinstance(wish, int):
        raise TypeError(f'a total is "exact" or a number to count up to, not {wish!r}')
    return query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_BOUNDED, up_to=wish)


def query_spec(
    table: str,
    expression: str | Condition,
    named: Mapping[str, Value],
    *,
    parameters: Mapping[str, Value] | None,
    index: str | None,
    descending: bool = False,
    projection: Sequence[str] = (),
    consistent: bool,
    max_items: int | None = None,
) -> query_pb2.QuerySpec:
    """Return the query as the service takes it.

    Args:
        table: The table's name in the catalog.
        expression: The condition, as text or as boto3 builds it.
        named: Parameters given as keyword arguments.
        parameters: More parameters, for names that options have too.
        index: The index to use or fail; `None` lets the service choose.
        descending: Largest sort key first.
        projection: Document paths of the attributes to return; empty for all.
        consistent: Read strongly.
        max_items: How many items the whole traversal returns at most.

    Raises:
        TypeError: An argument or a parameter's value has a type that does not fit.
        ValueError: A parameter is given twice or has a value that DynamoDB cannot hold.
    """
    check_projection(projection)
    if not isinstance(expression, str):
        if named or parameters:
            raise ValueError("a condition brings its own parameters; none can be added")
        expression, rendered = render(expression)
        encoded = {name: encode(value) for name, value in rendered.items()}  # type: ignore[arg-type]
    else:
        encoded = {name: encode(value) for name, value in _merged(named, parameters).items()}
    return query_pb2.QuerySpec(
        table=table,
        expression=expression,
        parameters=encoded,
        index=index or "",
        order=query_pb2.ORDER_DESCENDING if descending else query_pb2.ORDER_UNSPECIFIED,
        projection=projection,
        consistency=(
            query_pb2.CONSISTENCY_STRONG if consistent else query_pb2.CONSISTENCY_UNSPECIFIED
        ),
        max_items=max_items,
    )


def check_projection(projection: Sequence[str]) -> None:
    """Raise TypeError for one path where a list of them belongs."""
    if isinstance(projection, str):
        raise TypeError("projection takes a list of paths, not one string")


def _merged(
    named: Mapping[str, Value], parameters: Mapping[str, Value] | None
) -> Mapping[str, Value]:
    twice = named.keys() & (parameters or {}).keys()
    if twice:
        raise ValueError(f"given twice: {', '.join(sorted(twice))}")
    return {**named, **(parameters or {})}


def _duration(value: timedelta | None) -> Duration | None:
    if value is None:
        return None
    duration = Duration()
    duration.FromTimedelta(value)
    return duration
