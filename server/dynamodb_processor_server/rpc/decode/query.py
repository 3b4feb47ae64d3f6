"""Converts requests to the domain model, and finds every violation in them.

All violations of a request are reported at once, each with its field's path in proto names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.expression.ast import Condition, Path, Query
from dynamodb_processor_server.query.expression.parser import (
    ExpressionError,
    parse_expression,
    parse_path,
)
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.projection import conflicting
from dynamodb_processor_server.reader import (
    DEFAULT_CACHE_POLICY,
    NO_BUDGET,
    Budget,
    CacheMode,
    CachePolicy,
)
from dynamodb_processor_server.rpc.decode.values import TooManyValues, ValueCounter, value_of
from dynamodb_processor_server.rpc.decode.violations import Violations, check_unknown, truncated

_T = TypeVar("_T")
_PARAMETER: Final = re.compile(r"[A-Za-z0-9_]{1,255}")
_MAX_PARAMETERS: Final = 1_000
_MAX_PROJECTION: Final = 500
_MAX_PROJECTION_BYTES: Final = 16 * 1024  # DynamoDB has 4 KB of names or their aliases
_MAX_SECONDS: Final = 315_576_000_000  # of google.protobuf.Duration

_ORDERS: Final[Mapping[int, bool]] = {
    query_pb2.ORDER_UNSPECIFIED: False,
    query_pb2.ORDER_ASCENDING: False,
    query_pb2.ORDER_DESCENDING: True,
}
_CONSISTENCIES: Final[Mapping[int, bool]] = {
    query_pb2.CONSISTENCY_UNSPECIFIED: False,
    query_pb2.CONSISTENCY_EVENTUAL: False,
    query_pb2.CONSISTENCY_STRONG: True,
}
_CACHE_MODES: Final[Mapping[int, CacheMode]] = {
    query_pb2.CACHE_MODE_UNSPECIFIED: CacheMode.DEFAULT,
    query_pb2.CACHE_MODE_DEFAULT: CacheMode.DEFAULT,
    query_pb2.CACHE_MODE_BYPASS: CacheMode.BYPASS,
    query_pb2.CACHE_MODE_REFRESH: CacheMode.REFRESH,
    query_pb2.CACHE_MODE_ONLY_IF_CACHED: CacheMode.ONLY_IF_CACHED,
}
_TOTAL_MODES: Final = frozenset(
    {
        query_pb2.TOTAL_MODE_UNSPECIFIED,
        query_pb2.TOTAL_MODE_NONE,
        query_pb2.TOTAL_MODE_BOUNDED,
        query_pb2.TOTAL_MODE_EXACT,
    }
)
_Budgeted = QueryRequest | StreamQueryRequest | CountItemsRequest | BatchGetItemsRequest
_Cached = QueryRequest | StreamQueryRequest | CountItemsRequest | BatchGetItemsRequest


# The reason for refusing a request that asks for a figure which a row rule hides.
WITHHELD: Final = "is not allowed: under the access rules here it would tell of hidden items"


def parse_query(
    message: query_pb2.QuerySpec,
    violations: Violations,
    values: Mapping[str, Value] | None = None,
) -> Query:
    """Return the query of a `QuerySpec`, with other `values` of its parameters if they are given.

    Raises InvalidRequest for the violations of the message and those already in `violations`.
    """
    parameters = parse_parameters(message) if values is None else Parameters(values, {})
    _check_paths(message.projection, "query.projection")
    # The search for unknown fields is bounded by the two lines before.
    check_unknown(message, "query", violations)
    if not message.table:
        violations.add("query.table", "is required")
    query = Query(
        table=message.table,
        condition=_condition(message.expression, parameters, violations),
        index=message.index or None,
        descending=_enum(message.order, _ORDERS, "query.order", violations, False),
        projection=parse_projection(message.projection, "query.projection", violations),
        consistent=parse_consistency(message.consistency, "query.consistency", violations),
        max_items=_positive(message, "max_items", "query", violations),
    )
    violations.raise_any()
    return query


def parse_call_options(
    request: QueryRequest | StreamQueryRequest, violations: Violations
) -> tuple[Budget, CachePolicy]:
    """Return the budget and the cache policy of a call, adding violations."""
    if request.page_size < 0:
        violations.add("page_size", f"must not be negative, is {request.page_size}")
    return parse_budget(request, violations), parse_cache(request, violations)


def parse_budget(request: _Budgeted, violations: Violations) -> Budget:
    """Return the budget of a call, adding violations."""
    if not request.HasField("budget"):
        return NO_BUDGET
    budget = request.budget
    check_unknown(budget, "budget", violations)
    return Budget(
        max_scanned_items=_positive(budget, "max_scanned_items", "budget", violations),
        max_read_units=_positive(budget, "max_read_units", "budget", violations),
        max_duration=_duration(budget, "max_duration", "budget", violations, zero=False),
    )


def check_budget(budget: Budget, plan: Plan) -> None:
    """Raise InvalidRequest for a budget that would reveal a hidden cost."""
    if plan.hides_cost:
        violations = Violations()
        if budget.max_scanned_items is not None:
            violations.add("budget.max_scanned_items", WITHHELD)
        if budget.max_read_units is not None:
            violations.add("budget.max_read_units", WITHHELD)
        violations.raise_any()


def check_cache(cache: CachePolicy, plan: Plan) -> None:
    """Raise InvalidRequest for a cache mode that would reveal hidden writes."""
    if plan.rule is not None and cache.mode is CacheMode.ONLY_IF_CACHED:
        raise InvalidRequest.of("cache.mode", WITHHELD)


def parse_cache(request: _Cached, violations: Violations) -> CachePolicy:
    """Return the cache policy of a call, adding violations."""
    if not request.HasField("cache"):
        return DEFAULT_CACHE_POLICY
    cache = request.cache
    check_unknown(cache, "cache", violations)
    return CachePolicy(
        mode=_enum(cache.mode, _CACHE_MODES, "cache.mode", violations, CacheMode.DEFAULT),
        max_staleness=_duration(cache, "max_staleness", "cache", violations, zero=True),
    )


@dataclass(frozen=True, slots=True)
class Parameters:
    """Valid parameters by name, and the errors of the others by name."""

    values: Mapping[str, Value]
    errors: Mapping[str, str]


def parse_parameters(message: query_pb2.QuerySpec) -> Parameters:
    """Return the parameters of a query.

    Raises InvalidRequest at once if there are too many parameters or values in them.
    """
    messages = message.parameters
    if len(messages) > _MAX_PARAMETERS:
        raise InvalidRequest.of("query.parameters", f"are at most {_MAX_PARAMETERS}")
    values: dict[str, Value] = {}
    errors: dict[str, str] = {}
    counter = ValueCounter()
    for name in messages:
        try:
            if not _PARAMETER.fullmatch(name):
                raise ValueError("a parameter's name is letters, digits and _, without the colon")
            values[name] = value_of(messages[name], counter)
        except TooManyValues as error:
            raise InvalidRequest.of("query.parameters", str(error)) from None
        except ValueError as error:
            errors[name] = str(error)
    return Parameters(values, errors)


def _condition(expression: str, parameters: Parameters, violations: Violations) -> Condition | None:
    for name, text in parameters.errors.items():
        violations.add(f"query.parameters[{truncated(name)}]", text)
    if not expression.strip():
        for name in parameters.values:
            violations.add(f"query.parameters[{truncated(name)}]", "is not used: no expression")
        return None
    if parameters.errors:
        return None
    try:
        return parse_expression(expression, parameters.values)
    except ExpressionError as error:
        violations.add("query.expression", str(error))
        return None


def _check_paths(texts: Sequence[str], field: str) -> None:
    """Raise InvalidRequest if the paths are too many or too long to be parsed."""
    if len(texts) > _MAX_PROJECTION:
        raise InvalidRequest.of(field, f"has at most {_MAX_PROJECTION} paths")
    size = sum(len(text.encode()) for text in texts)
    if size > _MAX_PROJECTION_BYTES:
        raise InvalidRequest.of(
            field, f"has at most {_MAX_PROJECTION_BYTES} bytes of paths in all, not {size}"
        )


def parse_projection(texts: Sequence[str], field: str, violations: Violations) -> tuple[Path, ...]:
    """Return the document paths of `texts`, adding violations under `field`.

    Raises InvalidRequest if the paths are too many or too long to be parsed.
    """
    _check_paths(texts, field)
    found: list[Path] = []
    for index, text in enumerate(texts):
        try:
            found.append(parse_path(text))
        except ExpressionError as error:
            violations.add(f"{field}[{index}]", str(error))
            if violations.full:  # one violation takes as long as many valid paths
                break
    clash = conflicting(found)
    if clash is not None:
        violations.add(field, f"{clash} overlaps another path")
    return tuple(found)


def parse_consistency(consistency: int, field: str, violations: Violations) -> bool:
    """Return whether consistent reads are requested; an unknown value is a violation."""
    return _enum(consistency, _CONSISTENCIES, field, violations, False)


def parse_total(request: QueryRequest | StreamQueryRequest, violations: Violations) -> int | None:
    """Return the bound of a page's total, 0 for no bound, None for no total."""
    if not request.HasField("total"):
        return None
    bound = _bound(request.total, violations)
    return None if request.total.mode == query_pb2.TOTAL_MODE_NONE else bound


def parse_bound(request: CountItemsRequest, violations: Violations) -> int:
    """Return the bound of a count, 0 for no bound, adding violations."""
    if request.total.mode == query_pb2.TOTAL_MODE_NONE:
        violations.add("total.mode", "TOTAL_MODE_NONE would count nothing")
    return _bound(request.total, violations)


def _bound(options: query_pb2.TotalOptions, violations: Violations) -> int:
    check_unknown(options, "total", violations)
    if options.mode not in _TOTAL_MODES:
        violations.add("total.mode", f"{options.mode} is not a value this server knows")
        return 0
    up_to: int | None = _positive(options, "up_to", "total", violations)
    if options.HasField("up_to") != (options.mode == query_pb2.TOTAL_MODE_BOUNDED):
        violations.add("total.up_to", "belongs to TOTAL_MODE_BOUNDED, and is required there")
    return up_to or 0


def _enum(
    number: int, known: Mapping[int, _T], field: str, violations: Violations, fallback: _T
) -> _T:
    if number not in known:
        violations.add(field, f"{number} is not a value this server knows")
    return known.get(number, fallback)


def _positive(message: Message, name: str, path: str, violations: Violations) -> Any:
    """Return an optional number, None if absent."""
    if not message.HasField(name):
        return None
    value = getattr(message, name)
    if not value > 0 or math.isinf(value):
        violations.add(f"{path}.{name}", f"must be more than 0, is {value}")
        return None
    return value


def _duration(
    message: Message, name: str, path: str, violations: Violations, *, zero: bool
) -> float | None:
    """Return a duration in seconds, None if absent; `zero` says whether 0 is allowed."""
    if not message.HasField(name):
        return None
    duration: Duration = getattr(message, name)
    seconds = duration.seconds + duration.nanos / 1e9
    is_valid = (
        abs(duration.seconds) <= _MAX_SECONDS
        and abs(duration.nanos) < 1_000_000_000
        and duration.seconds * duration.nanos >= 0
    )
    if not is_valid or seconds < 0 or (seconds == 0 and not zero):
        violations.add(f"{path}.{name}", f"must be {'0 or more' if zero else 'more than 0'}")
        return None
    return seconds
