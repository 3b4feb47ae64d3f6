"""Chooses how a query is read. Pure: a query and a table in, a plan out.

Every access path is asked in turn what it can carry of the condition, or why it cannot serve the
query at all. Of those that can, the cheapest is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.catalog.schema import BASE_TABLE, AccessPath, PathKind, Table
from dynamodb_processor_server.errors import FieldViolation, InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.key_conditions import (
    KeyCondition,
    Narrowing,
    key_condition,
    missing_partition,
)
from dynamodb_processor_server.query.key_types import check_key_types
from dynamodb_processor_server.query.model import Condition, Query, conjuncts, paths
from dynamodb_processor_server.query.plan import Operation, Plan, RejectedPath
from dynamodb_processor_server.query.requests import build_plan
from dynamodb_processor_server.query.sparse import implied_attributes
from dynamodb_processor_server.query.static_types import ExpressionError

__all__ = ["plan_query"]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A path that can serve the query, and the key condition it would be read with."""

    path: AccessPath
    operation: Operation
    key: KeyCondition

    @property
    def cost(self) -> tuple[int, int]:
        """Smaller is cheaper: first how much is narrowed, then the kind of path."""
        return -self.key.narrowing, _KIND_COST[self.path.kind]


_KIND_COST: Final = {PathKind.TABLE: 0, PathKind.LOCAL: 1, PathKind.GLOBAL: 2}
_WHOLE_PATH: Final = KeyCondition((), frozenset(), frozenset(), Narrowing.PARTITION)


def plan_query(query: Query, table: Table) -> Plan:
    """Return the plan for a query.

    Raises InvalidRequest for what no table state could make right, and PreconditionFailed where no
    path can serve the query, with the partition keys that would.
    """
    _check_attributes(query, table)
    try:
        check_key_types(query.condition, table.schema)
    except ExpressionError as error:
        raise InvalidRequest.of("query.expression", str(error)) from None
    terms = conjuncts(query.condition)
    candidates: list[_Candidate] = []
    rejected: list[RejectedPath] = []
    for path in _considered(query, table):
        reason = _obstacle(path, terms, query, table)
        if reason is None:
            candidates.append(_Candidate(path, Operation.QUERY, key_condition(path.key, terms)))
        else:
            rejected.append(RejectedPath(path, reason))
    if not candidates:
        candidates = [_scan(query, table, rejected)]
    best = min(candidates, key=lambda candidate: candidate.cost)
    rejected += [
        RejectedPath(candidate.path, f"{best.path.label} narrows as much or more")
        for candidate in candidates
        if candidate is not best
    ]
    rejected = [other for other in rejected if other.path is not best.path]
    return build_plan(query, table, best.path, _operation(best), best.key, tuple(rejected), terms)


def _operation(candidate: _Candidate) -> Operation:
    return Operation.NOTHING if candidate.key.empty else candidate.operation


def _considered(query: Query, table: Table) -> tuple[AccessPath, ...]:
    """Return the paths that the caller lets the planner choose from."""
    if query.index is None:
        return table.schema.paths
    path = table.schema.path(query.index)
    if path is None:
        raise InvalidRequest.of("query.index", f"{table.name} has no index {query.index[:255]!r}")
    if query.strong and path.kind is PathKind.GLOBAL:
        raise InvalidRequest.of(
            "query.consistency", f"strong reads are not possible on global index {query.index}"
        )
    return (path,)


def _obstacle(
    path: AccessPath, terms: tuple[Condition, ...], query: Query, table: Table
) -> str | None:
    """Return why a path cannot serve the query by its partition key, or None when it can."""
    missing = missing_partition(path.key, terms)
    if missing:
        return f"the condition does not fix {' and '.join(missing)} with ="
    return _unfit(path, query, table)


def _unfit(path: AccessPath, query: Query, table: Table) -> str | None:
    """Return what is against reading a path whatever the key condition, or None."""
    if query.strong and path.kind is PathKind.GLOBAL:
        return "global indexes have no strong reads"
    uncovered = _uncovered(path, query, table)
    if uncovered and path.kind is PathKind.GLOBAL:
        return f"the index does not hold {', '.join(uncovered)}"
    hiding = _hiding_attributes(path, query, table)
    if hiding:
        return (
            f"the index holds only items that have {' and '.join(hiding)}, which neither the "
            "condition nor the catalog requires"
        )
    return None


def _uncovered(path: AccessPath, query: Query, table: Table) -> list[str]:
    if path.projected is None:
        return []
    needed = {p.attribute for p in paths(query.condition)}
    if query.projection:
        needed.update(p.attribute for p in query.projection)
    elif table.declaration.attributes:
        needed.update(table.declaration.attributes)
    else:
        return ["every attribute"]
    return sorted(needed - path.projected)


def _hiding_attributes(path: AccessPath, query: Query, table: Table) -> list[str]:
    """Return the key attributes for lack of which the index may hide items that are asked for."""
    if query.index is not None or table.declaration.sparse == "allow":
        return []
    given = implied_attributes(query.condition).union(
        table.declaration.required, (a.name for a in table.schema.base.key.attributes)
    )
    return [a.name for a in path.key.attributes if a.name not in given]


def _scan(query: Query, table: Table, rejected: list[RejectedPath]) -> _Candidate:
    """Return the scan that serves a query no partition key narrows, if the catalog allows it."""
    path = table.schema.path(query.index or BASE_TABLE)
    assert path is not None, "an unknown index has been refused before"
    if not table.declaration.allow_scan or _unfit(path, query, table) is not None:
        raise _refusal(query, table, rejected)
    if query.descending:
        raise InvalidRequest.of("query.order", "a scan has no order; fix a partition key with =")
    return _Candidate(path, Operation.SCAN, _WHOLE_PATH)


def _refusal(query: Query, table: Table, rejected: list[RejectedPath]) -> PreconditionFailed:
    if query.index is not None:
        reason = rejected[0].reason
        return PreconditionFailed(
            "INDEX_NOT_USABLE", "query.index", f"{query.index} cannot serve this query: {reason}"
        )
    shown = [other for other in rejected if _is_shown(other.path, table)]
    keys = dict.fromkeys(
        " and ".join(attribute.name for attribute in other.path.key.partition) for other in shown
    )
    reasons = "; ".join(f"{other.path.label}: {other.reason}" for other in shown[:8])
    return PreconditionFailed(
        "SCAN_NOT_ALLOWED",
        table.name,
        f"this needs a scan, and scans of {table.name} are not allowed; fix a partition key "
        f"with =: {', '.join(keys)} ({reasons})",
    )


def _is_shown(path: AccessPath, table: Table) -> bool:
    return all(table.may_show(attribute.name) for attribute in path.key.attributes)


def _check_attributes(query: Query, table: Table) -> None:
    violations = [
        FieldViolation("query.expression", f"column {path.column}: {table.name} has no {path}")
        for path in paths(query.condition)
        if not table.may_show(path.attribute)
    ]
    violations += [
        FieldViolation(f"query.projection[{position}]", f"{table.name} has no {path}")
        for position, path in enumerate(query.projection)
        if not table.may_show(path.attribute)
    ]
    # DynamoDB refuses them too, whichever index they are keys of.
    keys = table.schema.key_types
    violations += [
        FieldViolation(
            f"query.projection[{position}]", f"{path.attribute} is a key attribute, has no members"
        )
        for position, path in enumerate(query.projection)
        if path.attribute in keys and len(path.parts) > 1 and table.may_show(path.attribute)
    ]
    if violations:
        raise InvalidRequest(violations)
