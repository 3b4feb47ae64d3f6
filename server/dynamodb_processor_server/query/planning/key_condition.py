"""What a path's key condition can carry of a query's conjuncts.

DynamoDB takes one condition per key attribute: equality on every partition attribute, then on sort
attributes from left to right, the last of which may have a range instead. Everything here works on
conjuncts of the form `attribute operator literal`, whichever side the attribute stands on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from itertools import product
from math import prod
from typing import Final

from dynamodb_processor_server.catalog.schema import KeyAttribute, KeySchema
from dynamodb_processor_server.query.expression.ast import (
    Between,
    Comparison,
    ComparisonOperator,
    Condition,
    In,
    Literal,
    Operand,
    Or,
    Path,
)
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.attribute_bounds import (
    bounds_of,
    choice_of,
    each_bound,
    prefix_of,
)
from dynamodb_processor_server.query.planning.key_templates import (
    Derived,
    derived_terms,
    unfixed_fields,
)

_Terms = Sequence[Condition]


class Selectivity(IntEnum):
    """How much a key condition narrows the range within a partition; more is cheaper."""

    PARTITION = 0
    HALF_OPEN = 1
    RANGE = 2
    EQUAL = 3


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """A path's key condition, for one partition or for several.

    `branches` hold, for each partition, the values of the partition attributes in their order.
    `terms` are the conditions on sort attributes, the same in all branches. `covered` are the
    conjuncts that both say in full; all others must be checked elsewhere. `approximated` are
    conjuncts that the terms say but for single values, such as the excluded end of a range.
    `complete` says that every attribute of the key is fixed. No branches means that no item can
    match.
    """

    branches: tuple[tuple[Value, ...], ...]
    terms: tuple[Condition, ...]
    covered: frozenset[Condition]
    approximated: frozenset[Condition]
    narrowing: Selectivity
    complete: bool = False


def merged_choices(term: Condition) -> Condition:
    """Return an OR of equals on one attribute as the IN that it is; other terms as they are."""
    if not isinstance(term, Or):
        return term
    options: list[Operand] = []
    subjects: set[Operand] = set()
    for part in map(merged_choices, term.terms):  # ORs in an OR have parentheses of their own
        match part:
            case Comparison("=", Path() as subject, Literal() as option):
                options.append(option)
            case Comparison("=", Literal() as option, Path() as subject):
                options.append(option)
            case In(Path() as subject, alternatives):
                options += alternatives
            case _:
                return term
        subjects.add(subject)
    return In(subjects.pop(), tuple(options)) if len(subjects) == 1 else term


def unfixed_partition(key: KeySchema, terms: _Terms) -> tuple[KeyAttribute, ...]:
    """Return the partition attributes that no conjuncts fix by equality."""
    said = _with_derived(terms, derived_terms(key, terms))
    return tuple(a for a in key.partition if choice_of(a.name, said, a.type) is None)


def missing_partition(key: KeySchema, terms: _Terms) -> tuple[str, ...]:
    """Return what a caller has yet to fix by equality: attributes, or fields of their templates."""
    missing: list[str] = []
    for attribute in unfixed_partition(key, terms):
        template = attribute.template
        fields = [] if template is None else unfixed_fields(template, terms)
        missing += fields or [attribute.name]
    return tuple(dict.fromkeys(missing))


def key_condition(key: KeySchema, terms: _Terms) -> KeyCondition:
    """Return the key condition for a key whose partition attributes are all fixed by `terms`."""
    derived = derived_terms(key, terms)
    said = _with_derived(terms, derived)
    choices = [choice_of(attribute.name, said, attribute.type) for attribute in key.partition]
    fixed = [choice for choice in choices if choice is not None]
    assert len(fixed) == len(choices), "the caller has looked at missing_partition"
    branches = tuple(product(*(choice.values for choice in fixed)))
    carried = frozenset().union(*(choice.sources for choice in fixed))
    sort = _sort_condition(key, said)
    if sort is None:
        branches, sort = (), _NO_SORT_CONDITION
    return _credited(replace(sort, branches=branches, covered=sort.covered | carried), derived)


def partitions_needed(key: KeySchema, terms: _Terms) -> int:
    """Return how many partitions `terms` fix, 0 if they leave that open."""
    said = _with_derived(terms, derived_terms(key, terms))
    choices = [choice_of(attribute.name, said, attribute.type) for attribute in key.partition]
    return prod(len(choice.values) if choice is not None else 0 for choice in choices)


def _with_derived(terms: _Terms, derived: Iterable[Derived]) -> tuple[Condition, ...]:
    return (*terms, *(term for one in derived for term in one.terms))


def _credited(condition: KeyCondition, derived: Iterable[Derived]) -> KeyCondition:
    """Return a key condition that knows what it says of the fields of templates."""
    carried, near = condition.covered, condition.approximated
    for one in derived:
        if carried.issuperset(one.terms) and one.is_exact:
            carried |= one.sources
        elif (carried | near).issuperset(one.terms):
            near |= one.sources
    return replace(condition, covered=carried, approximated=near)


def _sort_condition(key: KeySchema, terms: _Terms) -> KeyCondition | None:
    """Return the conditions on the sort attributes, None when they contradict each other."""
    chosen: list[Condition] = []
    carried: set[Condition] = set()
    narrowing = Selectivity.PARTITION
    for attribute in key.sort:
        bounds = list(each_bound(attribute.name, terms, attribute.type))
        equal = next((bound for bound in bounds if bound.operator == "="), None)
        if equal is None:
            return _with_range(attribute, terms, chosen, carried, narrowing)
        if not all(bound.admits(equal.value) for bound in bounds):
            return None
        chosen.append(_comparison(attribute.name, "=", equal.value))
        carried.update(bound.source for bound in bounds)
        narrowing = Selectivity.EQUAL
    return KeyCondition(
        (), tuple(chosen), frozenset(carried), frozenset(), narrowing, complete=True
    )


_NO_SORT_CONDITION: Final = KeyCondition((), (), frozenset(), frozenset(), Selectivity.EQUAL)


def _with_range(
    attribute: KeyAttribute,
    terms: _Terms,
    chosen: list[Condition],
    carried: set[Condition],
    narrowing: Selectivity,
) -> KeyCondition | None:
    """Add the narrowest range that `terms` allow on one sort attribute; None if there is none."""
    name = attribute.name
    prefix = prefix_of(name, terms, attribute.type)
    bounds = bounds_of(name, terms, attribute.type)
    lower, upper = bounds.lower, bounds.upper
    if prefix is not None:
        return KeyCondition(
            (), (*chosen, prefix), frozenset({*carried, prefix}), frozenset(), Selectivity.RANGE
        )
    if lower is None and upper is None:
        return KeyCondition((), tuple(chosen), frozenset(carried), frozenset(), narrowing)
    if lower is None or upper is None:
        bound = lower or upper
        assert bound is not None
        term = _comparison(name, bound.operator, bound.value)
        carried.update(bounds.sources)
        return KeyCondition(
            (),
            (*chosen, term),
            frozenset(carried),
            frozenset(),
            max(narrowing, Selectivity.HALF_OPEN),
        )
    if lower.value.order > upper.value.order or (
        lower.value == upper.value and (lower.operator == ">" or upper.operator == "<")
    ):
        return None
    # DynamoDB has no half-open range: BETWEEN includes both ends, and an excluded one is left for
    # the service to drop.
    between = Between(Path((name,)), Literal(lower.value), Literal(upper.value))
    open_ends = {b.source for b in (lower, upper) if b.operator in ("<", ">")}
    carried.update(bounds.sources - open_ends)
    return KeyCondition(
        (),
        (*chosen, between),
        frozenset(carried),
        frozenset(open_ends),
        max(narrowing, Selectivity.RANGE),
    )


def _comparison(name: str, operator: ComparisonOperator, value: Value) -> Comparison:
    return Comparison(operator, Path((name,)), Literal(value))
