"""What a path's key condition can carry of a query's conjuncts.

DynamoDB takes one condition per key attribute: equality on every partition attribute, then on sort
attributes from left to right, the last of which may have a range instead. Everything here works on
conjuncts of the form `attribute operator literal`, whichever side the attribute stands on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from dynamodb_processor_server.catalog.schema import KeySchema
from dynamodb_processor_server.query.model import (
    MIRRORED,
    Between,
    Comparison,
    ComparisonOperator,
    Condition,
    Function,
    In,
    Literal,
    Path,
)
from dynamodb_processor_server.query.values import Value

# DynamoDB's limits on the size of key values.
_MAX_PARTITION_BYTES: Final = 2048
_MAX_SORT_BYTES: Final = 1024


class Narrowing(IntEnum):
    """How much a key condition narrows the range within a partition; more is cheaper."""

    PARTITION = 0
    HALF_OPEN = 1
    RANGE = 2
    EQUAL = 3


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """A path's key condition.

    `terms` go to DynamoDB. `carried` are the conjuncts that they say in full; all others must be
    checked elsewhere. `near` are conjuncts that the terms say but for single values, such as the
    excluded end of a range. `empty` means that no item can match.
    """

    terms: tuple[Condition, ...]
    carried: frozenset[Condition]
    near: frozenset[Condition]
    narrowing: Narrowing
    empty: bool = False


@dataclass(frozen=True, slots=True)
class _Bound:
    """One conjunct that bounds one attribute from one side, or prefixes it."""

    operator: ComparisonOperator
    value: Value
    source: Condition


def missing_partition(key: KeySchema, terms: Sequence[Condition]) -> tuple[str, ...]:
    """Return the partition attributes that no conjunct fixes by equality."""
    return tuple(
        attribute.name for attribute in key.partition if _fixed(attribute.name, terms) is None
    )


def _fixed(name: str, terms: Sequence[Condition]) -> _Bound | None:
    bounds = _bounds(name, terms, _MAX_PARTITION_BYTES)
    return next((bound for bound in bounds if bound.operator == "="), None)


def key_condition(key: KeySchema, terms: Sequence[Condition]) -> KeyCondition:
    """Return the key condition for a key whose partition attributes are all fixed by `terms`."""
    chosen: list[Condition] = []
    carried: set[Condition] = set()
    for attribute in key.partition:
        bound = _fixed(attribute.name, terms)
        assert bound is not None, "the caller has looked at missing_partition"
        chosen.append(_comparison(attribute.name, "=", bound.value))
        carried.add(bound.source)
    narrowing = Narrowing.PARTITION
    for attribute in key.sort:
        equal = next((b for b in _bounds(attribute.name, terms) if b.operator == "="), None)
        if equal is None:
            return _with_range(attribute.name, terms, chosen, carried, narrowing)
        chosen.append(_comparison(attribute.name, "=", equal.value))
        carried.add(equal.source)
        narrowing = Narrowing.EQUAL
    return KeyCondition(tuple(chosen), frozenset(carried), frozenset(), narrowing)


def _with_range(
    name: str,
    terms: Sequence[Condition],
    chosen: list[Condition],
    carried: set[Condition],
    narrowing: Narrowing,
) -> KeyCondition:
    """Add the narrowest range that `terms` allow on one sort attribute."""
    prefix = _prefix(name, terms)
    bounds = list(_bounds(name, terms))
    lower = _narrowest([b for b in bounds if b.operator in (">", ">=")])
    upper = _narrowest([b for b in bounds if b.operator in ("<", "<=")])
    if prefix is not None:
        return KeyCondition(
            (*chosen, prefix), frozenset({*carried, prefix}), frozenset(), Narrowing.RANGE
        )
    if lower is None and upper is None:
        return KeyCondition(tuple(chosen), frozenset(carried), frozenset(), narrowing)
    if lower is None or upper is None:
        bound = lower or upper
        assert bound is not None
        term = _comparison(name, bound.operator, bound.value)
        carried.update(_implied(bounds, lower, upper))
        return KeyCondition(
            (*chosen, term), frozenset(carried), frozenset(), max(narrowing, Narrowing.HALF_OPEN)
        )
    if lower.value.order > upper.value.order or (
        lower.value == upper.value and (lower.operator == ">" or upper.operator == "<")
    ):
        return KeyCondition((), frozenset(), frozenset(), Narrowing.EQUAL, empty=True)
    # DynamoDB has no half-open range: BETWEEN includes both ends, and an excluded one is left for
    # the service to drop.
    between = Between(Path((name,)), Literal(lower.value), Literal(upper.value))
    open_ends = {b.source for b in (lower, upper) if b.operator in ("<", ">")}
    carried.update(_implied(bounds, lower, upper) - open_ends)
    return KeyCondition(
        (*chosen, between),
        frozenset(carried),
        frozenset(open_ends),
        max(narrowing, Narrowing.RANGE),
    )


def _bounds(
    name: str, terms: Iterable[Condition], limit: int = _MAX_SORT_BYTES
) -> Iterator[_Bound]:
    """Yield what the conjuncts say about one attribute, as far as a key condition may say it."""
    for term in terms:
        match term:
            case Comparison(operator, Path((only,)), Literal(value)) if only == name:
                if operator != "<>" and _is_key_value(value, limit):
                    yield _Bound(operator, value, term)
            case Comparison(operator, Literal(value), Path((only,))) if only == name:
                if operator != "<>" and _is_key_value(value, limit):
                    yield _Bound(MIRRORED[operator], value, term)
            case In(Path((only,)), (Literal(value),)) if only == name:
                if _is_key_value(value, limit):
                    yield _Bound("=", value, term)
            case Between(Path((only,)), Literal(low), Literal(high)) if only == name:
                if _is_key_value(low, limit) and _is_key_value(high, limit):
                    yield _Bound(">=", low, term)
                    yield _Bound("<=", high, term)


def _prefix(name: str, terms: Iterable[Condition]) -> Condition | None:
    for term in terms:
        match term:
            case Function("begins_with", Path((only,)), Literal(value)) if only == name:
                if _is_key_value(value, _MAX_SORT_BYTES):
                    return term
    return None


def _is_key_value(value: Value, limit: int) -> bool:
    """Return whether DynamoDB takes a value in a key condition: neither empty nor oversized."""
    if value.type == "N":
        return True
    return value.type in ("S", "B") and 0 < len(value.order) <= limit


def _narrowest(bounds: list[_Bound]) -> _Bound | None:
    """Return the bound that implies all others of its side; an open end beats a closed one."""
    if not bounds:
        return None
    upper = bounds[0].operator in ("<", "<=")
    best = bounds[0]
    for bound in bounds[1:]:
        inside = (
            bound.value.order < best.value.order if upper else bound.value.order > best.value.order
        )
        if inside or (bound.value == best.value and bound.operator in ("<", ">")):
            best = bound
    return best


def _implied(
    bounds: Iterable[_Bound], lower: _Bound | None, upper: _Bound | None
) -> set[Condition]:
    """Return the conjuncts of which every bound is implied by the chosen ones."""
    sources: dict[Condition, bool] = {}
    for bound in bounds:
        chosen = lower if bound.operator in (">", ">=") else upper
        sources[bound.source] = sources.get(bound.source, True) and chosen is not None
    return {source for source, implied in sources.items() if implied}


def _comparison(name: str, operator: ComparisonOperator, value: Value) -> Comparison:
    return Comparison(operator, Path((name,)), Literal(value))
