"""Builds a plan for a chosen path: filters of DynamoDB and the service, and the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from dynamodb_processor_server.query.expression.symbolic import derive
from dynamodb_processor_server.query.expression.values import Value, to_wire
from dynamodb_processor_server.query.planning.attribute_bounds import sorts_before
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
    expiry_attribute,
    holds_attributes_of,
    projected_paths,
    pushed_projection,
    stored_paths,
)
from dynamodb_processor_server.query.planning.row_rule import RowRule

# The aliases of the partition attributes' values; a key has up to four partition attributes.
PARTITION_ALIASES: Final = (":p0", ":p1", ":p2", ":p3")


def build_plan(
    query: Query,
    table: Table,
    chosen: Candidate,
    rejected: tuple[RejectedPath, ...],
    terms: Sequence[Condition],
    rule: RowRule | None = None,
    digest: Callable[[object], bytes] = canonical.digest,
) -> Plan:
    """Return the plan that reads the chosen path; `terms` include the conjuncts of a rule.

    `digest` makes its cache key.
    """
    path, operation, key, hydrates = chosen.path, chosen.operation, chosen.key, chosen.hydrates
    rest = tuple(term for term in terms if term not in key.covered)
    pushed, local = _split_filters(rest, path, operation, table.view, len(key.branches))
    checked = local
    if rule is not None and not query.counts:
        # A rule is checked on every returned item, even if DynamoDB has evaluated it too.
        rest = tuple(dict.fromkeys((*rest, *rule.terms)))
        checked = tuple(dict.fromkeys((*local, *rule.terms)))
    fetched, projection = pushed_projection(
        query, table, path, rest if hydrates else checked, hydrates=hydrates
    )
    hydration = None
    if hydrates:
        shown = tuple(term for term in checked if holds_attributes_of(path, term, table.view))
        hydration = _hydration(fetched, rest, shown, selective=len(shown) < len(checked))
        fetched = stored_paths((*path.cursor_attributes, *attributes(shown)), path, table.view)
    request = _Request(query, path, operation, key, pushed, fetched)
    requests = request.for_each_branch(table.config.table)
    local_filter = conjunction(checked)
    # A role may see other items: its policy can restrict the partition keys that it reads.
    source = (table.schema.identity, table.config.role_arn)
    # A count depends on the view that the local filter sees; a page has it in its projection.
    seen = table.view if query.counts and not table.view.is_identity else None
    # Pages end differently if a rule hides items, so callers without the rule do not share them.
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
        projection=projection,
        consistent=query.consistent,
        descending=query.descending,
        exact_limit=not pushed and key.approximated.issuperset(local),
        counts=query.counts,
        rejected=rejected,
        # The requests of all partitions differ only in the partitions' values.
        cache_key=digest(
            (
                *(source, *kind, requests[:1], key.branches),
                *(local_filter, hydration, projection, query.counts, seen),
            )
        ),
        rule=rule,
        hides_cost=rule is not None and not rule.covered_by(key),
    )


def build_batch(
    projection: tuple[Path, ...],
    table: Table,
    rule: RowRule | None = None,
    *,
    consistent: bool = False,
) -> tuple[dict[str, Any], ResultProjection]:
    """Return BatchGetItem's parameters without the keys, and the parts of each item to return.

    An item that may be cached is read with its time to live.
    """
    checked = (*implicit_conditions(table.view), *(() if rule is None else rule.terms))
    base = table.schema.base
    expiry = expiry_attribute(table, consistent=consistent)
    needed = (*base.cursor_attributes, *attributes(checked), *expiry)
    fetched, result_projection = projected_paths(projection, table, base, needed)
    return _batch_request(fetched), result_projection


_Terms = tuple[Condition, ...]


def _hydration(
    fetched: tuple[Path, ...], rest: _Terms, shown: _Terms, *, selective: bool
) -> Hydration:
    request = MappingProxyType(_batch_request(fetched))
    return Hydration(request, conjunction(shown), conjunction(rest), selective)


def _batch_request(fetched: tuple[Path, ...]) -> dict[str, Any]:
    """Return BatchGetItem's parameters that request some attributes, or all without a path."""
    writer = ExpressionWriter()
    request: dict[str, Any] = {}
    if fetched:
        request["ProjectionExpression"] = ", ".join(map(writer.path, fetched))
    _set_if_any(request, "ExpressionAttributeNames", writer.names)
    return request


def _split_filters(
    rest: _Terms, path: AccessPath, operation: Operation, view: LogicalView, branches: int
) -> tuple[_Terms, _Terms]:
    """Split conjuncts between DynamoDB's filter and the service's.

    A get has no filter. A query's filter must not name the path's own key, and expressions have
    limits. A local index fetches missing attributes only after filtering. Only the service knows
    the fields of keys.
    """
    key_names = {a.name for a in path.key.attributes} if operation is not Operation.SCAN else set()
    evaluates = operation is not Operation.GET
    pushed = PushedFilter(branches)
    local: list[Condition] = []
    for term in rest:
        names = attributes((term,))
        stored = key_names.isdisjoint(names) and not any(map(view.is_field, names))
        stored = stored and not isinstance(term, NotExpired)
        allowed = (
            evaluates
            and stored
            and holds_attributes_of(path, term, view)
            and not _is_inverted_range(term)
        )
        if not (allowed and pushed.add(term)):
            local.append(term)
    return tuple(pushed.terms), tuple(local)


def _is_inverted_range(term: Condition) -> bool:
    """Return whether a term has a range that DynamoDB refuses: its low end above its high end."""
    return any(
        isinstance(leaf, Between)
        and isinstance(leaf.low, Literal)
        and isinstance(leaf.high, Literal)
        and sorts_before(leaf.high.value, leaf.low.value)
        for leaf in leaves(term)
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """The common parts of the requests of all branches."""

    query: Query
    path: AccessPath
    operation: Operation
    key: KeyCondition
    pushed: _Terms
    fetched: tuple[Path, ...]

    def for_each_branch(self, table: str) -> tuple[Mapping[str, Any], ...]:
        """Return the request of each partition."""
        writer = ExpressionWriter()
        common: dict[str, Any] = {"TableName": table, "ReturnConsumedCapacity": "TOTAL"}
        if self.query.consistent:
            common["ConsistentRead"] = True
        if self.operation is not Operation.GET:
            common |= self._conditions(writer)
        if self.fetched:
            common["ProjectionExpression"] = ", ".join(map(writer.path, self.fetched))
        _set_if_any(common, "ExpressionAttributeNames", writer.names)
        shared = writer.values
        return tuple(
            MappingProxyType(common | self._of_branch(values, shared))
            for values in self.key.branches
        )

    def _conditions(self, writer: ExpressionWriter) -> dict[str, Any]:
        request: dict[str, Any] = {}
        if self.path.index is not None:
            request["IndexName"] = self.path.index
        if self.operation is Operation.QUERY:
            request["ScanIndexForward"] = not self.query.descending
            # The partition values have reserved aliases, because a filter may use an equal value.
            names = (writer.path(Path((a.name,))) for a in self.path.key.partition)
            fixed = [
                f"{name} = {alias}" for name, alias in zip(names, PARTITION_ALIASES, strict=False)
            ]
            ranged = [writer.condition(term) for term in self.key.sort_conditions]
            request["KeyConditionExpression"] = " AND ".join(fixed + ranged)
        if self.pushed:
            request["FilterExpression"] = writer.condition(And(self.pushed))
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
            sort = [term.right.value for term in self.key.sort_conditions]  # type: ignore[union-attr]
            names = [attribute.name for attribute in self.path.key.attributes]
            key = zip(names, [*values, *sort], strict=True)
            return {"Key": {name: derive(to_wire, value) for name, value in key}}
        fixed = {
            alias: derive(to_wire, value)
            for alias, value in zip(PARTITION_ALIASES, values, strict=False)
        }
        request: dict[str, Any] = {}
        _set_if_any(request, "ExpressionAttributeValues", {**fixed, **shared})
        return request


def _set_if_any(request: dict[str, Any], name: str, entries: Mapping[str, Any]) -> None:
    if entries:
        request[name] = dict(entries)
