"""Defects of DynamoDB Local that DynamoDB does not have, so that comparisons can avoid them."""

from __future__ import annotations

from tests.support.conditions import And, Between, Comparison, Condition, Constant, Path, Wire
from tests.support.datasets import DataSet, Index
from tests.support.oracle import canonical
from tests.support.random_queries import RandomQuery

_TOWARDS_END = {False: "<=", True: ">="}
_SEEN_FROM_LEFT = {False: ">=", True: "<="}


def loses_ties(query: RandomQuery, data: DataSet, index: Index) -> bool:
    """Return whether DynamoDB Local, seen in 3.3.0, may lose items of this query between pages.

    It does so on a global index with the table's own sort key as sort key, where the range has an
    inclusive far end and several items stand at that very end: a start key on one of them skips the
    others. `test_oracle` shows it without the service.
    """
    sort = data.schema.sort
    if index.local or sort is None or sort not in index.sort:
        return False
    ends = _far_ends(query.condition, sort, query.descending)
    held = [canonical(item[sort]) for item in data.held_by(index)]
    return any(held.count(canonical(end)) > 1 for end in ends)


def _far_ends(condition: Condition, name: str, descending: bool) -> list[Wire]:
    """Return the constants at which a conjunct ends a range on an attribute, inclusively."""
    path = Path((name,))
    match condition:
        case And(parts):
            return [end for term in parts for end in _far_ends(term, name, descending)]
        case Comparison(left, operator, Constant(value)) if left == path:
            return [value] if operator == _TOWARDS_END[descending] else []
        case Comparison(Constant(value), operator, right) if right == path:
            return [value] if operator == _SEEN_FROM_LEFT[descending] else []
        case Between(operand, Constant(low), Constant(high)) if operand == path:
            return [low if descending else high]
    return []
