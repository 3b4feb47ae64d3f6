"""Builds a path's key condition from a query's conjuncts.

DynamoDB takes one condition per key attribute: equality on every partition attribute, then on sort
attributes from left to right; the last of these may have a range instead. Everything here works on
conjuncts of the form `attribute operator literal`, with the attribute on either side.
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
    sorts_before,
)
from dynamodb_processor_server.query.planning.key_templates import (
    DerivedKeyCondition,
    derived_key_conditions,
    unfixed_fields,
)

_Terms = Sequence[Condition]


class Selectivity(IntEnum):
    """How far a key condition narrows the range within a partition; a higher value is cheaper."""

    PARTITION = 0
    HALF_OPEN = 1
    RANGE = 2
    EQUAL = 3


@dataclass(frozen=True, slots=True)
class KeyCondition:
    """A path's key condition, for one partition or for several.

    `branches` has one entry for each partition: the values of the partition attributes in order.
    `sort_conditions` are the conditions on sort attributes, equal in all branches. `covered` are
    the conjuncts that these two express completely; all others must be checked elsewhere.
    `approximated` are conjuncts that they express except for single values, such as the excluded
    end of a range. `complete` means that every attribute of the key is fixed. No branches means
    that no item can match.
    """

    branches: tuple[tuple[Value, ...], ...]
    sort_conditions: tuple[Condition, ...]
    covered: frozenset[Condition]
    approximated: frozenset[Condition]
    selectivity: Selectivity
    complete: bool = False


def merged_choices(term: Condition) -> Condition:
    """Return an OR of equalities on one attribute as an equivalent IN; other terms unchanged."""
    if not isinstance(term, Or):
        return term
    options: list[Operand] = []
    subjects: set[Operand] = set()
    for part in map(merged_choices, term.terms):  # a nested OR was written in parentheses
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
    """Return the partition attributes that the conjuncts do not fix by equality."""
    all_terms = _with_derived(terms, derived_key_conditions(key, terms))
    return tuple(a for a in key.partition if choice_of(a.name, all_terms, a.type) is None)


def missing_partition(key: KeySchema, terms: _Terms) -> tuple[str, ...]:
    """Return the names that a caller must still fix by equality: attributes, or template fields."""
    missing: list[str] = []
    for attribute in unfixed_partition(key, terms):
        template = attribute.template
        fields = [] if template is None else unfixed_fields(template, terms)
        missing += fields or [attribute.name]
    return tuple(dict.fromkeys(missing))


def key_condition(key: KeySchema, terms: _Terms) -> KeyCondition:
    """Return the key condition for a key whose partition attributes `terms` all fix."""
    derived = derived_key_conditions(key, terms)
    all_terms = _with_derived(terms, derived)
    choices = [choice_of(attribute.name, all_terms, attribute.type) for attribute in key.partition]
    fixed = [choice for choice in choices if choice is not None]
    assert len(fixed) == len(choices), "the caller has checked missing_partition"
    branches = tuple(product(*(choice.values for choice in fixed)))
    covered = frozenset().union(*(choice.sources for choice in fixed))
    sort = _sort_condition(key, all_terms)
    if sort is None:
        branches, sort = (), _NO_SORT_CONDITION
    return _with_field_sources(
        replace(sort, branches=branches, covered=sort.covered | covered), derived
    )


def partitions_needed(key: KeySchema, terms: _Terms) -> int:
    """Return how many partitions `terms` fix; 0 if they do not fix the partition key."""
    all_terms = _with_derived(terms, derived_key_conditions(key, terms))
    choices = [choice_of(attribute.name, all_terms, attribute.type) for attribute in key.partition]
    return prod(len(choice.values) if choice is not None else 0 for choice in choices)


def _with_derived(terms: _Terms, derived: Iterable[DerivedKeyCondition]) -> tuple[Condition, ...]:
    return (*terms, *(term for one in derived for term in one.terms))


def _with_field_sources(
    condition: KeyCondition, derived: Iterable[DerivedKeyCondition]
) -> KeyCondition:
    """Return a key condition whose sets include the conjuncts on fields that it expresses."""
    covered, approximated = condition.covered, condition.approximated
    for one in derived:
        if covered.issuperset(one.terms) and one.is_exact:
            covered |= one.sources
        elif (covered | approximated).issuperset(one.terms):
            approximated |= one.sources
    return replace(condition, covered=covered, approximated=approximated)


def _sort_condition(key: KeySchema, terms: _Terms) -> KeyCondition | None:
    """Return the conditions on the sort attributes; None if they contradict each other."""
    chosen: list[Condition] = []
    covered: set[Condition] = set()
    selectivity = Selectivity.PARTITION
    for attribute in key.sort:
        bounds = list(each_bound(attribute.name, terms, attribute.type))
        equal = next((bound for bound in bounds if bound.operator == "="), None)
        if equal is None:
            return _with_range(attribute, terms, chosen, covered, selectivity)
        if not all(bound.admits(equal.value) for bound in bounds):
            return None
        chosen.append(_comparison(attribute.name, "=", equal.value))
        covered.update(bound.source for bound in bounds)
        selectivity = Selectivity.EQUAL
    return KeyCondition(
        (), tuple(chosen), frozenset(covered), frozenset(), selectivity, complete=True
    )


_NO_SORT_CONDITION: Final = KeyCondition((), (), frozenset(), frozenset(), Selectivity.EQUAL)


def _with_range(
    attribute: KeyAttribute,
    terms: _Terms,
    chosen: list[Condition],
    covered: set[Condition],
    selectivity: Selectivity,
) -> KeyCondition | None:
    """Add the narrowest range that `terms` allow on one sort attribute; None if it is empty."""
    name = attribute.name
    prefix = prefix_of(name, terms, attribute.type)
    bounds = bounds_of(name, terms, attribute.type)
    lower, upper = bounds.lower, bounds.upper
    if prefix is not None:
        return KeyCondition(
            (), (*chosen, prefix), frozenset({*covered, prefix}), frozenset(), Selectivity.RANGE
        )
    if lower is None and upper is None:
        return KeyCondition((), tuple(chosen), frozenset(covered), frozenset(), selectivity)
    if lower is None or upper is None:
        bound = lower or upper
        assert bound is not None
        term = _comparison(name, bound.operator, bound.value)
        covered.update(bounds.sources)
        return KeyCondition(
            (),
            (*chosen, term),
            frozenset(covered),
            frozenset(),
            max(selectivity, Selectivity.HALF_OPEN),
        )
    if sorts_before(upper.value, lower.value) or (
        lower.value == upper.value and (lower.operator == ">" or upper.operator == "<")
    ):
        return None
    # DynamoDB has no half-open range: BETWEEN includes both ends, and the service leaves out the
    # items at an excluded end.
    between = Between(Path((name,)), Literal(lower.value), Literal(upper.value))
    open_ends = {b.source for b in (lower, upper) if b.operator in ("<", ">")}
    covered.update(bounds.sources - open_ends)
    return KeyCondition(
        (),
        (*chosen, between),
        frozenset(covered),
        frozenset(open_ends),
        max(selectivity, Selectivity.RANGE),
    )


def _comparison(name: str, operator: ComparisonOperator, value: Value) -> Comparison:
    return Comparison(operator, Path((name,)), Literal(value))
