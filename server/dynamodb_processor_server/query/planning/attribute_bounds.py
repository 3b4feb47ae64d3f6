"""Finds the values and ranges that a condition allows for one attribute, for key conditions.

Everything here works on conjuncts of the form `attribute operator literal`, with the attribute on
either side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.query.expression.ast import (
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
from dynamodb_processor_server.query.expression.symbolic import decide
from dynamodb_processor_server.query.expression.values import Value

# DynamoDB's limits on the size of key values.
MAX_PARTITION_BYTES: Final = 2048
MAX_SORT_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound of one attribute from one side, or an equality, with its conjunct."""

    operator: ComparisonOperator
    value: Value
    source: Condition

    def admits(self, value: Value) -> bool:
        """Return whether a value of the same type satisfies the bound."""
        match self.operator:
            case "<":
                return sorts_before(value, self.value)
            case "<=":
                return not sorts_before(self.value, value)
            case ">":
                return sorts_before(self.value, value)
            case ">=":
                return not sorts_before(value, self.value)
        return value == self.value


@dataclass(frozen=True, slots=True)
class Choice:
    """The few values that conjuncts allow for an attribute, distinct and in the caller's order."""

    values: tuple[Value, ...]
    sources: frozenset[Condition]


def choice_of(name: str, terms: Iterable[Condition], key_type: str) -> Choice | None:
    """Return the values that all conjuncts together allow for an attribute; None if any value.

    Values that a key of `key_type` cannot have are left out, because no item has them there.
    """
    result: Choice | None = None
    for term in terms:
        choice = _choice(name, term, key_type)
        if choice is None:
            continue
        if result is not None:
            common = tuple(value for value in result.values if value in choice.values)
            choice = Choice(common, result.sources | choice.sources)
        result = choice
    return result


def _choice(name: str, term: Condition, key_type: str) -> Choice | None:
    values: tuple[Value, ...]
    match term:
        case Comparison("=", Path((only,)), Literal(value)) if only == name:
            values = (value,)
        case Comparison("=", Literal(value), Path((only,))) if only == name:
            values = (value,)
        case In(Path((only,)), options) if only == name:
            values = tuple(option.value for option in options if isinstance(option, Literal))
            if len(values) < len(options):
                return None  # one option is an attribute, which may have any value
        case _:
            return None
    # DynamoDB refuses a key condition with a value that cannot be a key.
    valid = tuple(
        value
        for value in dict.fromkeys(values)
        if value.type == key_type and is_key_value(value, MAX_PARTITION_BYTES)
    )
    return Choice(valid, frozenset((term,)))


@dataclass(frozen=True, slots=True)
class Bounds:
    """The narrowest range that conjuncts allow for an attribute; None for an unbounded side.

    `sources` are the conjuncts whose every bound is implied by these two.
    """

    lower: Bound | None
    upper: Bound | None
    sources: frozenset[Condition]


def bounds_of(name: str, terms: Iterable[Condition], key_type: str) -> Bounds:
    """Return the range that conjuncts allow for an attribute."""
    bounds = list(each_bound(name, terms, key_type))
    lower = _narrowest([b for b in bounds if b.operator in (">", ">=")])
    upper = _narrowest([b for b in bounds if b.operator in ("<", "<=")])
    return Bounds(lower, upper, frozenset(_implied(bounds, lower, upper)))


def each_bound(name: str, terms: Iterable[Condition], key_type: str) -> Iterator[Bound]:
    """Yield the bounds of one attribute in the conjuncts that a key condition can express.

    A conjunct with a value that a key of `key_type` cannot have is left out: a key condition must
    not contain it.
    """

    def fits(subject: object, *values: Value) -> bool:
        keys = (value.type == key_type and is_key_value(value, MAX_SORT_BYTES) for value in values)
        return subject == name and all(keys)

    for term in terms:
        match term:
            case Comparison(operator, Path((only,)), Literal(value)) if fits(only, value):
                if operator != "<>":
                    yield Bound(operator, value, term)
            case Comparison(operator, Literal(value), Path((only,))) if fits(only, value):
                if operator != "<>":
                    yield Bound(MIRRORED[operator], value, term)
            case In(Path((only,)), (Literal(value),)) if fits(only, value):
                yield Bound("=", value, term)
            case Between(Path((only,)), Literal(low), Literal(high)) if fits(only, low, high):
                yield Bound(">=", low, term)
                yield Bound("<=", high, term)


def prefix_of(name: str, terms: Iterable[Condition], key_type: str) -> Function | None:
    """Return the conjunct that gives an attribute's prefix, None if there is none."""
    for term in terms:
        match term:
            case Function("begins_with", Path((only,)), Literal(value)) if only == name:
                if value.type == key_type and is_key_value(value, MAX_SORT_BYTES):
                    return term
    return None


def is_key_value(value: Value, limit: int) -> bool:
    """Return whether DynamoDB accepts a value in a key condition: not empty and not too long."""
    if value.type == "N":
        return True
    return value.type in ("S", "B") and decide(_has_key_length, value, limit)


def _has_key_length(value: Value, limit: int) -> bool:
    return 0 < len(value.order) <= limit


def sorts_before(value: Value, other: Value) -> bool:
    """Return whether DynamoDB sorts a value before another one of the same ordered type."""
    return decide(_sorts_before, value, other)


def _sorts_before(value: Value, other: Value) -> bool:
    return bool(value.order < other.order)


def _narrowest(bounds: list[Bound]) -> Bound | None:
    """Return the bound that implies the others on its side; an excluded end is narrower."""
    if not bounds:
        return None
    upper = bounds[0].operator in ("<", "<=")
    best = bounds[0]
    for bound in bounds[1:]:
        low, high = (bound, best) if upper else (best, bound)
        inside = sorts_before(low.value, high.value)
        if inside or (bound.value == best.value and bound.operator in ("<", ">")):
            best = bound
    return best


def _implied(bounds: Iterable[Bound], lower: Bound | None, upper: Bound | None) -> set[Condition]:
    """Return the conjuncts whose every bound is implied by the chosen bounds."""
    sources: dict[Condition, bool] = {}
    for bound in bounds:
        chosen = lower if bound.operator in (">", ">=") else upper
        sources[bound.source] = sources.get(bound.source, True) and chosen is not None
    return {source for source, implied in sources.items() if implied}
