"""Applies grants and row rules to access paths: which may be read, and with which key condition.

Callers see the reasons, so these name only attributes that the caller has named or may see.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dynamodb_processor_server.catalog.schema import AccessPath, KeyAttribute, KeySchema, Table
from dynamodb_processor_server.query.expression.ast import Condition, paths
from dynamodb_processor_server.query.planning.key_condition import (
    KeyCondition,
    key_condition,
    missing_partition,
    partitions_needed,
)
from dynamodb_processor_server.query.planning.row_rule import RowRule

RULED_OUT: Final = "the access rules do not allow it there"
_NOT_GRANTED: Final = "its key is not granted"
MAX_BRANCHES: Final = 50

_Terms = Sequence[Condition]


def terms_with_rule(caller_terms: _Terms, rule: RowRule | None) -> tuple[Condition, ...]:
    """Return the distinct conjuncts of the caller and of the rule."""
    if rule is None:
        return tuple(caller_terms)
    return tuple(dict.fromkeys((*caller_terms, *rule.terms)))


def grant_rejection_reason(
    path: AccessPath, caller_terms: _Terms, rule: RowRule | None, table: Table
) -> str | None:
    """Return the reason why the caller's grant forbids reading a path by its key, or None."""
    terms = terms_with_rule(caller_terms, rule)
    if not all(map(table.may_show, missing_partition(path.key, terms))):
        return _NOT_GRANTED
    if rule is None:
        return None
    if not rule.as_filter and not rule.attributes <= _names(path.key.attributes):
        return RULED_OUT
    callers_own = partitions_needed(path.key, caller_terms)
    if partitions_needed(path.key, terms) > MAX_BRANCHES >= callers_own:
        return RULED_OUT
    return None


def key_condition_with_rule(
    key: KeySchema, caller_terms: _Terms, rule: RowRule | None
) -> KeyCondition | None:
    """Return the key condition to read with; None if it must cover the rule and cannot.

    The conjuncts must fix all partition attributes.
    """
    condition = key_condition(key, terms_with_rule(caller_terms, rule))
    if rule is None or rule.as_filter or rule.covered_by(condition):
        return condition
    # The caller's bounds may keep the key condition from covering the rule, as an excluded end
    # does. Then only the rule's bounds are used, and the service checks the caller's.
    sort = _names(key.sort) - _names(key.partition)

    def names_no_sort_key(term: Condition) -> bool:
        return sort.isdisjoint(path.attribute for path in paths(term))

    kept = list(filter(names_no_sort_key, caller_terms))
    condition = key_condition(key, terms_with_rule(kept, rule))
    return condition if rule.covered_by(condition) else None


def _names(attributes: Sequence[KeyAttribute]) -> set[str]:
    """Return the names of key attributes and of the fields in their templates."""
    return {name for attribute in attributes for name in (attribute.name, *attribute.fields)}
