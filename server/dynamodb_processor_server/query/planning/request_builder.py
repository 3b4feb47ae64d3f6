"""Turns a chosen path into a plan: who checks what, and the DynamoDB request that asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.schema import AccessPath, PathKind, Table
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import (
    And,
    Between,
    Condition,
    Literal,
    NotExpired,
    Path,
    Query,
    conjunction,
    leaves,
)
from dynamodb_processor_server.query.expression.values import Value, to_wire
from dynamodb_processor_server.query.planning.candidate import Candidate
from dynamodb_processor_server.query.planning.expression_writer import ExpressionWriter
from dynamodb_processor_server.query.planning.filter_pushdown import PushedFilter
from dynamodb_processor_server.query.planning.key_condition import KeyCondition
from dynamodb_processor_server.query.planning.logical_attributes import implicit_conditions
from dynamodb_processor_server.query.planning.plan import (
    Hydration,
    Operation,
    Plan,
    RejectedPath,
    ResultProjection,
)
from dynamodb_processor_server.query.planning.projection_pushdown import (
    attributes,
    holds,
    projected_paths,
    pushed_projection,
    stored_paths,
)
from dynamodb_processor_server.query.planning.row_rule import RowRule

# What requests call the values of the partition attributes, of which a key has up to four.
PARTITION_ALIASES: Final = (":p0", ":p1", ":p2", ":p3")


def build_plan(
    query: Query,
    table: Table,
    chosen: Candidate,
    rejected: tuple[RejectedPath, ...],
    terms: Sequence[Condition],
    rule: RowRule | None = None,
) -> Plan:
    """Return the plan that reads the path chosen for the conjuncts `terms`, a rule's included."""
    path, operation, key, hydrates = chosen.path, chosen.operation, chosen.key, chosen.hydrates
    rest = tuple(term for term in terms if term not in key.covered)
    pushed, local = _split_filters(rest, path, operation, table.view, len(key.branches))
    checked = local
    if rule is not None and not query.counts:
        # On every item that is returned, whoever else has seen to it.
        rest = tuple(dict.fromkeys((*rest, *rule.terms)))
        checked = tuple(dict.fromkeys((*local, *rule.terms)))
    fetched, shape = pushed_projection(
        query, table, path, rest if hydrates else checked, hydrates=hydrates
    )
    hydration = None
    if hydrates:
        shown = tuple(term for term in checked if holds(path, term, table.view))
        hydration = _hydration(fetched, rest, shown, selective=len(shown) < len(checked))
        fetched = stored_paths((*path.cursor_attributes, *attributes(shown)), path, table.view)
    request = _Request(query, path, operation, key, pushed, fetched)
    requests = request.for_each_branch(table.schema.name)
    local_filter = conjunction(checked)
    # A role may see other items: its policy can restrict the partition keys that it reads.
    source = (table.schema.identity, table.config.role_arn)
    # What is counted hangs on what the local filter sees of an item; pages have it in their shape.
    seen = table.view if query.counts and not table.view.is_identity else None
    # Answers end differently where items are hidden: who has no such rule does not share them.
    kind = (operation.value,) if rule is None else (operation.value, rule)
    return Plan(
        table=table,
        path=path,
        operation=operation,
        key=key,
        filter=conjunction(pushed),
        local_filter=local_filter,
        hydration=hydration,
        requests=requests,
        shape=shape,
        consistent=query.consistent,
        descending=query.descending,
        exact_limit=not pushed and key.approximated.issuperset(local),
        counts=query.counts,
        rejected=rejected,
        # All partitions are asked the same but for their own values.
        cache_key=canonical.digest(
            (
                *(source, *kind, requests[:1], key.branches),
                *(local_filter, hydration, shape, query.counts, seen),
            )
        ),
        rule=rule,
        hides_cost=rule is not None and not rule.covered_by(key),
    )


def build_batch(
    projection: tuple[Path, ...], table: Table, rule: RowRule | None = None
) -> tuple[dict[str, Any], ResultProjection]:
    """Return what to ask BatchGetItem for besides the keys, and what to keep of each item."""
    checked = (*implicit_conditions(table.view), *(() if rule is None else rule.terms))
    base = table.schema.base
    needed = (*base.cursor_attributes, *attributes(checked))
    fetched, shape = projected_paths(projection, table, base, needed)
    return _projecting(fetched), shape


_Terms = tuple[Condition, ...]


def _hydration(
    fetched: tuple[Path, ...], rest: _Terms, shown: _Terms, *, selective: bool
) -> Hydration:
    request = MappingProxyType(_projecting(fetched))
    return Hydration(request, conjunction(shown), conjunction(rest), selective)


def _projecting(fetched: tuple[Path, ...]) -> dict[str, Any]:
    """Return BatchGetItem's parameters that ask for some attributes; for all if none is named."""
    renderer = ExpressionWriter()
    request: dict[str, Any] = {}
    if fetched:
        request["ProjectionExpression"] = ", ".join(map(renderer.path, fetched))
    _set_if_any(request, "ExpressionAttributeNames", renderer.names)
    return request


def _split_filters(
    rest: _Terms, path: AccessPath, operation: Operation, view: LogicalView, branches: int
) -> tuple[_Terms, _Terms]:
    """Divide conjuncts between DynamoDB's filter and the service.

    A get has no filter. A query's filter may not name the path's own key, and expressions have
    limits; a local index fetches attributes it does not hold only after filtering. Fields of keys
    are known to the service alone.
    """
    own = {a.name for a in path.key.attributes} if operation is not Operation.SCAN else set()
    evaluates = operation is not Operation.GET
    pushed = PushedFilter(branches)
    local: list[Condition] = []
    for term in rest:
        names = attributes((term,))
        stored = own.isdisjoint(names) and not any(map(view.is_field, names))
        stored = stored and not isinstance(term, NotExpired)
        allowed = evaluates and stored and holds(path, term, view) and not _is_inverted_range(term)
        if not (allowed and pushed.add(term)):
            local.append(term)
    return tuple(pushed.terms), tuple(local)


def _is_inverted_range(term: Condition) -> bool:
    """Return whether a term holds a range that DynamoDB refuses: its low end above its high end."""
    return any(
        isinstance(leaf, Between)
        and isinstance(leaf.low, Literal)
        and isinstance(leaf.high, Literal)
        and leaf.low.value.order > leaf.high.value.order
        for leaf in leaves(term)
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """What the requests of all branches have in common."""

    query: Query
    path: AccessPath
    operation: Operation
    key: KeyCondition
    pushed: _Terms
    fetched: tuple[Path, ...]

    def for_each_branch(self, table: str) -> tuple[Mapping[str, Any], ...]:
        """Return the request for each partition."""
        renderer = ExpressionWriter()
        common: dict[str, Any] = {"TableName": table, "ReturnConsumedCapacity": "TOTAL"}
        if self.query.consistent:
            common["ConsistentRead"] = True
        if self.operation is not Operation.GET:
            common |= self._conditions(renderer)
        if self.fetched:
            common["ProjectionExpression"] = ", ".join(map(renderer.path, self.fetched))
        _set_if_any(common, "ExpressionAttributeNames", renderer.names)
        shared = renderer.values
        return tuple(
            MappingProxyType(common | self._of_branch(values, shared))
            for values in self.key.branches
        )

    def _conditions(self, renderer: ExpressionWriter) -> dict[str, Any]:
        request: dict[str, Any] = {}
        if self.path.index is not None:
            request["IndexName"] = self.path.index
        if self.operation is Operation.QUERY:
            request["ScanIndexForward"] = not self.query.descending
            # A branch's own values have aliases of their own: a filter may use the same value.
            names = (renderer.path(Path((a.name,))) for a in self.path.key.partition)
            fixed = [
                f"{name} = {alias}" for name, alias in zip(names, PARTITION_ALIASES, strict=False)
            ]
            ranged = [renderer.condition(term) for term in self.key.terms]
            request["KeyConditionExpression"] = " AND ".join(fixed + ranged)
        if self.pushed:
            request["FilterExpression"] = renderer.condition(And(self.pushed))
        if self.query.counts and not self.fetched:
            request["Select"] = "COUNT"
        elif (
            not self.fetched
            and self.path.kind is PathKind.LOCAL
            and self.path.projected is not None
        ):
            request["Select"] = "ALL_ATTRIBUTES"
        return request

    def _of_branch(
        self, values: tuple[Value, ...], shared: Mapping[str, dict[str, Any]]
    ) -> dict[str, Any]:
        if self.operation is Operation.GET:
            sort = [term.right.value for term in self.key.terms]  # type: ignore[union-attr]
            names = [attribute.name for attribute in self.path.key.attributes]
            return {"Key": {n: to_wire(v) for n, v in zip(names, [*values, *sort], strict=True)}}
        fixed = {
            alias: to_wire(value) for alias, value in zip(PARTITION_ALIASES, values, strict=False)
        }
        request: dict[str, Any] = {}
        _set_if_any(request, "ExpressionAttributeValues", {**fixed, **shared})
        return request


def _set_if_any(request: dict[str, Any], name: str, entries: Mapping[str, Any]) -> None:
    if entries:
        request[name] = dict(entries)
