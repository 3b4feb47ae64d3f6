"""Turns a chosen path into a plan: who checks what, and the DynamoDB request that asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from dynamodb_processor_server.catalog.schema import AccessPath, PathKind, Table
from dynamodb_processor_server.query import canonical
from dynamodb_processor_server.query.key_conditions import KeyCondition
from dynamodb_processor_server.query.model import (
    And,
    Between,
    Condition,
    In,
    Literal,
    Not,
    Or,
    Path,
    Query,
    conjunction,
    leaves,
    paths,
)
from dynamodb_processor_server.query.plan import Operation, Plan, RejectedPath, Shape
from dynamodb_processor_server.query.rendering import Renderer

# DynamoDB's limits on one expression, the number of operators with some distance kept.
_MAX_EXPRESSION_BYTES: Final = 4096
_MAX_OPERATORS: Final = 280
_MAX_IN_OPERANDS: Final = 100


def build_plan(
    query: Query,
    table: Table,
    path: AccessPath,
    operation: Operation,
    key: KeyCondition,
    rejected: tuple[RejectedPath, ...],
    terms: Sequence[Condition],
) -> Plan:
    """Return the plan that reads `path` for the conjuncts `terms` of `query`."""
    rest = tuple(term for term in terms if term not in key.carried)
    pushed, local = _divide(rest, path, operation)
    wanted = _wanted_paths(query, table)
    fetched, shape = _projection(wanted, path, local)
    request = _request(query, table, path, operation, key.terms, pushed, fetched)
    local_filter = conjunction(local)
    source = (table.declaration.region, table.declaration.role_arn)
    return Plan(
        table=table,
        path=path,
        operation=operation,
        key_condition=conjunction(key.terms),
        filter=conjunction(pushed),
        local_filter=local_filter,
        request=MappingProxyType(request),
        shape=shape,
        strong=query.strong,
        exact_limit=not pushed and key.near.issuperset(local),
        rejected=rejected,
        cache_key=canonical.digest((source, operation.value, request, local_filter, shape)),
    )


_Terms = tuple[Condition, ...]


def _divide(rest: _Terms, path: AccessPath, operation: Operation) -> tuple[_Terms, _Terms]:
    """Divide conjuncts between DynamoDB's filter and the service.

    A query's filter may not name the path's own key, and expressions have limits; a local index
    fetches attributes it does not hold only after filtering.
    """
    own = {a.name for a in path.key.attributes} if operation is not Operation.SCAN else set()
    pushed: list[Condition] = []
    local: list[Condition] = []
    for term in rest:
        names = {p.attribute for p in paths(term)}
        held = path.projected is None or names <= path.projected
        allowed = held and not names & own and not _upside_down(term)
        fits = allowed and _within_limits((*pushed, term))
        (pushed if fits else local).append(term)
    return tuple(pushed), tuple(local)


def _upside_down(term: Condition) -> bool:
    """Return whether a term holds a range that DynamoDB refuses: its low end above its high end."""
    return any(
        isinstance(leaf, Between)
        and isinstance(leaf.low, Literal)
        and isinstance(leaf.high, Literal)
        and leaf.low.value.order > leaf.high.value.order
        for leaf in leaves(term)
    )


def _within_limits(terms: _Terms) -> bool:
    operators = len(terms) - 1 + sum(map(_operators, terms))
    widest = max(
        (len(leaf.options) for t in terms for leaf in leaves(t) if isinstance(leaf, In)), default=0
    )
    text = Renderer().condition(And(terms))
    # The key condition takes the first few aliases; longer ones cost a byte or two each.
    return (
        operators <= _MAX_OPERATORS
        and widest <= _MAX_IN_OPERANDS
        and len(text) + text.count(":") + text.count("#") <= _MAX_EXPRESSION_BYTES
    )


def _operators(condition: Condition) -> int:
    match condition:
        case And(terms) | Or(terms):
            return len(terms) - 1 + sum(map(_operators, terms))
        case Not(term):
            return 1 + _operators(term)
    return 1


def _wanted_paths(query: Query, table: Table) -> tuple[Path, ...]:
    """Return what the caller is to get; empty means whole items."""
    return query.projection or tuple(Path((name,)) for name in table.declaration.attributes or ())


def _projection(
    wanted: tuple[Path, ...], path: AccessPath, local: _Terms
) -> tuple[tuple[Path, ...], Shape]:
    """Return what to ask DynamoDB for, and what to keep of it.

    The position's attributes and those checked in the service are needed whether wanted or not.
    """
    if not wanted:
        return (), Shape()
    needed = dict.fromkeys((*path.position, *(p.attribute for t in local for p in paths(t))))
    whole = {p.attribute for p in wanted if len(p.parts) == 1}
    heads = frozenset(p.attribute for p in wanted)
    extra = [name for name in needed if name not in whole]
    if not extra:
        return wanted, Shape()
    # Asking for both `a.b` and `a` is an error, so `a` is fetched whole and cut here.
    widened = heads.intersection(extra)
    fetched = (*(p for p in wanted if p.attribute not in widened), *(Path((n,)) for n in extra))
    # What DynamoDB has cut already is kept as it comes: its list elements have closed ranks.
    cut = (p if p.attribute in widened else Path((p.attribute,)) for p in wanted)
    return fetched, Shape(heads, tuple(dict.fromkeys(cut)) if widened else ())


def _request(
    query: Query,
    table: Table,
    path: AccessPath,
    operation: Operation,
    key_terms: _Terms,
    pushed: _Terms,
    fetched: tuple[Path, ...],
) -> dict[str, Any]:
    renderer = Renderer()
    request: dict[str, Any] = {
        "TableName": table.schema.name,
        "ReturnConsumedCapacity": "TOTAL",
    }
    if path.index is not None:
        request["IndexName"] = path.index
    if key_terms:
        request["KeyConditionExpression"] = renderer.condition(And(key_terms))
    if operation is not Operation.SCAN:
        request["ScanIndexForward"] = not query.descending
    if pushed:
        request["FilterExpression"] = renderer.condition(And(pushed))
    if query.strong:
        request["ConsistentRead"] = True
    if fetched:
        request["ProjectionExpression"] = ", ".join(map(renderer.path, fetched))
    elif path.kind is PathKind.LOCAL and path.projected is not None:
        request["Select"] = "ALL_ATTRIBUTES"
    _set_if_any(request, "ExpressionAttributeNames", renderer.names)
    _set_if_any(request, "ExpressionAttributeValues", renderer.values)
    return request


def _set_if_any(request: dict[str, Any], name: str, entries: Mapping[str, Any]) -> None:
    if entries:
        request[name] = dict(entries)
