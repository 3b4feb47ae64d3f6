"""From a `QuerySpec` to a planned query, remembered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.access.grants import Grant
from dynamodb_processor_server.access.principals import Principal
from dynamodb_processor_server.catalog.registry import Catalog
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import (
    ConfigurationError,
    FieldViolation,
    PermissionDenied,
)
from dynamodb_processor_server.query import canonical
from dynamodb_processor_server.query.key_types import check_key_types
from dynamodb_processor_server.query.model import Query
from dynamodb_processor_server.query.plan import Plan
from dynamodb_processor_server.query.planner import plan_query
from dynamodb_processor_server.query.rules import RowRule
from dynamodb_processor_server.query.static_types import ExpressionError
from dynamodb_processor_server.rpc.received import LARGEST_KEPT_QUERY, Spec
from dynamodb_processor_server.rpc.requests import parse_query
from dynamodb_processor_server.rpc.violations import Violations

# Bytes of all queries that are remembered; a plan takes up to forty times as many. One query takes
# a few more, so that there are not too many small ones.
_MAX_REMEMBERED: Final = 2 * 1024 * 1024
_EACH_QUERY: Final = 128


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A validated query and its plan; its tokens are bound to `identity` and to who calls.

    `size` is how many bytes the query has as it was received.
    """

    query: Query
    plan: Plan
    identity: bytes
    size: int


class Preparation:
    """Parses and plans queries, each once per version of the catalog and of what is granted."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._plans: LRUCache[tuple[int, bool, bytes, bytes], PreparedQuery] = LRUCache(
            _MAX_REMEMBERED, lambda prepared: prepared.size + _EACH_QUERY
        )
        # By the identity of the plan for pages, which is kept with it and so stays its own.
        self._counting: LRUCache[int, tuple[PreparedQuery, Plan]] = LRUCache(
            _MAX_REMEMBERED, lambda kept: kept[0].size + _EACH_QUERY
        )

    @property
    def version(self) -> int:
        """Of the catalog; plans of another one are not to be used any more."""
        return self._catalog.version

    async def prepare(
        self,
        spec: Spec,
        principal: Principal,
        mistakes: tuple[FieldViolation, ...],
        *,
        counts: bool = False,
    ) -> PreparedQuery:
        """Return the planned query; one that `counts` is planned for counting.

        Raises PermissionDenied before anything else is looked at, then InvalidRequest (for
        `mistakes` too), TableNotFound, PreconditionFailed.
        """
        grant = granted(principal, spec.table)
        if mistakes:
            parse_query(spec.message, Violations(mistakes))
        if spec.key is not None:
            known = self._plans.get((self._catalog.version, counts, grant.version, spec.key))
            if known is not None:
                return known
        query = replace(parse_query(spec.message, Violations()), counts=counts)
        table = narrowed(await self._catalog.table(spec.table), grant)
        prepared = _prepared(query, table, _stored_rule(grant, table), spec.size)
        if spec.key is not None:
            # Describing the table on first use moves the version on.
            self._plans[self._catalog.version, counts, grant.version, spec.key] = prepared
        return prepared

    def counting(self, prepared: PreparedQuery) -> Plan:
        """Return the plan that counts all that a query matches.

        On the path of its pages, so that both see the same items: an index may hold fewer than the
        table, where the catalog or the caller says that this does not matter.
        """
        plan = prepared.plan
        known = self._counting.get(id(plan))
        if known is not None:
            return known[1]
        query = replace(prepared.query, counts=True, index=plan.path.label)
        counting = plan_query(query, plan.table, plan.rule)
        if prepared.size <= LARGEST_KEPT_QUERY:
            self._counting[id(plan)] = prepared, counting
        return counting

    async def table(
        self, name: str, principal: Principal, violations: Violations
    ) -> tuple[Table, RowRule | None]:
        """Return a table to read without a query, and the caller's row rule.

        Refusals come in the same order.
        """
        grant = granted(principal, name)
        if not name:
            violations.add("table", "is required")
        violations.raise_any()
        table = narrowed(await self._catalog.table(name), grant)
        return table, _stored_rule(grant, table)


_NO_TABLE: Final = Grant("")


def granted(principal: Principal, table: str) -> Grant:
    """Return what a principal may read of a table, existing or not; any grant for no table.

    Raises PermissionDenied where that is nothing.
    """
    grant = principal.grant(table) if table else _NO_TABLE
    if grant is None:
        raise PermissionDenied(f"table {table[:255]} is not granted to {principal.name}")
    return grant


def narrowed(table: Table, grant: Grant) -> Table:
    """Return a table as it is for those who have a grant of it.

    Raises PermissionDenied where nothing is left of it.
    """
    rule = grant.rule
    if rule is not None:
        try:
            check_key_types(rule.over(table.view).condition, table.schema)
        except ExpressionError as error:
            raise ConfigurationError(f"a row rule does not fit {table.name}: {error}") from None
    table = table.narrowed(grant.attributes, rule.fixed if rule else frozenset())
    if table.declaration.attributes == ():
        raise PermissionDenied(f"no attribute of table {table.name} is granted")
    return table


def _stored_rule(grant: Grant, table: Table) -> RowRule | None:
    """Return the rule of a grant as one on the expanded items of a table that it fits."""
    return None if grant.rule is None else grant.rule.over(table.view)


def _prepared(query: Query, table: Table, rule: RowRule | None, size: int) -> PreparedQuery:
    plan = plan_query(query, table, rule)
    declaration = table.declaration
    source = (declaration.region, declaration.role_arn, table.schema.name)
    # A rule may change how many partitions are read, and with it what a position means.
    asked = (source, query) if rule is None else (source, query, rule)
    purpose = b"count" if query.counts else b""
    return PreparedQuery(query, plan, canonical.digest(asked) + purpose, size)
