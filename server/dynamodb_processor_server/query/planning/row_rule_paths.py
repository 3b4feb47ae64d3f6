"""What grants and row rules mean for access paths: which may be read, and with which key condition.

Reasons go to callers, so they name no attribute that the caller has neither named nor may see.
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


def all_terms(own: _Terms, rule: RowRule | None) -> tuple[Condition, ...]:
    """Return the caller's own conjuncts and the rule's, each once."""
    return tuple(own) if rule is None else tuple(dict.fromkeys((*own, *rule.terms)))


def rejection_reason(
    path: AccessPath, own: _Terms, rule: RowRule | None, table: Table
) -> str | None:
    """Return why the caller's grant keeps a path from being read by key, None where it does not."""
    terms = all_terms(own, rule)
    if not all(map(table.may_show, missing_partition(path.key, terms))):
        return _NOT_GRANTED
    if rule is None:
        return None
    if not rule.as_filter and not rule.attributes <= _names(path.key.attributes):
        return RULED_OUT
    if partitions_needed(path.key, terms) > MAX_BRANCHES >= partitions_needed(path.key, own):
        return RULED_OUT
    return None


def ruled_key(key: KeySchema, own: _Terms, rule: RowRule | None) -> KeyCondition | None:
    """Return the key condition to read with; None where it must say all of a rule and cannot.

    The partition attributes are all fixed.
    """
    condition = key_condition(key, all_terms(own, rule))
    if rule is None or rule.as_filter or rule.covered_by(condition):
        return condition
    # With the caller's bounds the rule's own may not fit, such as an excluded end: then the
    # service checks the caller's.
    sort = _names(key.sort) - _names(key.partition)
    fixing = [term for term in own if sort.isdisjoint(path.attribute for path in paths(term))]
    condition = key_condition(key, all_terms(fixing, rule))
    return condition if rule.covered_by(condition) else None


def _names(attributes: Sequence[KeyAttribute]) -> set[str]:
    """Return the names of key attributes, and those of the fields that they are composed of."""
    return {name for attribute in attributes for name in (attribute.name, *attribute.fields)}
