"""Parses and plans queries, each shape of query once, and binds the plans to values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import FieldViolation
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.generic_plan import PlannedQuery
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.prepared_statement import (
    PreparedStatement,
    plan_anew,
)
from dynamodb_processor_server.rpc.decode.page_request import MAX_CACHED_QUERY_BYTES, RawQuerySpec
from dynamodb_processor_server.rpc.decode.query import parse_query
from dynamodb_processor_server.rpc.decode.query_shape import shaped
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.table_access import (
    TableAccess,
    access_under,
    granted,
    open_table,
)

# Bytes of the queries whose plans are cached, for pages and for totals; a plan takes up to forty
# times as many. Each query counts a few bytes more, which bounds the number of small ones.
_MAX_PAGED_QUERY_BYTES: Final = 512 * 1024
_MAX_COUNTED_QUERY_BYTES: Final = 2 * 1024 * 1024
_OVERHEAD_PER_QUERY: Final = 128
# Decoding parameters, or binding them, takes at most such a part of the time that parsing and
# planning may take for as many bytes.
_BINDS_PER_PLAN: Final = 4
# Bytes of memory for prepared statements: for all, for each, and for each step of its plans.
_MAX_STATEMENT_BYTES: Final = 32 * 1024 * 1024
_BYTES_PER_STATEMENT: Final = 2_048
_BYTES_PER_STEP: Final = 300


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A validated query and its plan; its page tokens are bound to `identity` and to the caller.

    It is valid while `access` is. `size` is the number of bytes of the query as received.
    """

    query: Query
    plan: Plan
    access: TableAccess
    identity: bytes
    size: int


@dataclass(frozen=True, slots=True)
class _Statement:
    """A prepared statement, and the access under which its plans are valid.

    `counts` says that its plans count items; `shape_size` is the number of bytes of its shape.
    """

    prepared: PreparedStatement
    access: TableAccess
    counts: bool
    shape_size: int

    @classmethod
    def of(cls, access: TableAccess, counts: bool, shape_size: int) -> _Statement:
        """Return a statement without generic plans."""
        prepared = PreparedStatement(access.table, access.rule, access.token_scope)
        return cls(prepared, access, counts, shape_size)

    @property
    def memory(self) -> int:
        """The approximate number of bytes that the statement takes."""
        return _BYTES_PER_STATEMENT + self.shape_size + _BYTES_PER_STEP * self.prepared.size

    def bind(self, values: Mapping[str, Value], size: int) -> PreparedQuery | None:
        """Return the planned query for some values; None if no generic plan is for them."""
        planned = self.prepared.bind(values)
        return None if planned is None else _prepared(planned, self.access, size)

    def plan(self, spec: RawQuerySpec, values: Mapping[str, Value]) -> PreparedQuery:
        """Return the planned query for some values, after making a generic plan for them."""

        def parse(parameters: Mapping[str, Value]) -> Query:
            query = parse_query(spec.message, Violations(), parameters)
            return replace(query, counts=self.counts)

        return _prepared(self.prepared.plan(values, parse), self.access, spec.size)


class QueryPreparer:
    """Parses and plans queries, each shape once per version of the catalog and of the grant.

    The shape of a query is everything but the values of its parameters. A new shape is planned for
    the values at hand. When the shape comes again, it becomes a prepared statement: its generic
    plans are bound to other values, without parsing and planning.
    """

    def __init__(self, catalog: Catalog, work: PlanningWork) -> None:
        self.catalog = catalog
        self.work = work
        self._plans: LRUCache[tuple[int, bool, bytes, bytes], PreparedQuery] = LRUCache(
            _MAX_PAGED_QUERY_BYTES, lambda prepared: prepared.size + _OVERHEAD_PER_QUERY
        )
        self._statements: LRUCache[tuple[int, bool, bytes, Hashable], _Statement] = LRUCache(
            _MAX_STATEMENT_BYTES, lambda statement: statement.memory
        )
        # By the `id` of the plan for pages, which the entry holds, so that no other plan gets it.
        self._counting_plans: LRUCache[int, tuple[PreparedQuery, Plan]] = LRUCache(
            _MAX_COUNTED_QUERY_BYTES, lambda kept: kept[0].size + _OVERHEAD_PER_QUERY
        )

    @property
    def version(self) -> int:
        """The version of the catalog; plans of another version must not be used any more."""
        return self.catalog.version

    async def prepare(
        self,
        spec: RawQuerySpec,
        principal: Principal,
        violations: tuple[FieldViolation, ...],
        *,
        counts: bool = False,
    ) -> PreparedQuery:
        """Return the planned query; with `counts` it is planned for counting.

        Raises, in this order, PermissionDenied before anything else is examined, InvalidRequest
        (for `violations` too), TableNotFound and PreconditionFailed. Raises RateLimited if the
        principal's planning time is used up and the plan is not cached.
        """
        grant = principal.grant(spec.table) or granted(principal, spec.table)
        if violations:
            parse = partial(parse_query, spec.message, Violations(violations))
            await self.work.run_sized(principal, spec.size, parse)
        if spec.key is None:
            return await self._plan(spec, principal, grant, counts)
        prepared = self._plans.get((self.catalog.version, counts, grant.version, spec.key))
        if prepared is None:
            prepared = await self._bind(spec, principal, grant, counts)
            # Describing the table on its first use changes the catalog's version.
            self._plans[prepared.access.version, counts, grant.version, spec.key] = prepared
        return prepared

    async def _bind(
        self, spec: RawQuerySpec, principal: Principal, grant: Grant, counts: bool
    ) -> PreparedQuery:
        """Return the planned query: a generic plan bound to its values if its shape is known."""
        size = spec.size // _BINDS_PER_PLAN
        query = await self.work.run_sized(principal, size, partial(shaped, spec.message))
        if query is None:
            return await self._plan(spec, principal, grant, counts)
        key = self.catalog.version, counts, grant.version, query.shape
        known = self._statements.get(key)
        if known is None:
            prepared = await self._plan(spec, principal, grant, counts)
            key = prepared.access.version, *key[1:]
            self._statements.setdefault(key, _Statement.of(prepared.access, counts, query.size))
            return prepared
        bind = partial(known.bind, query.values, spec.size)
        bound = await self.work.run_sized(principal, size, bind, begun=True)
        if bound is not None:
            return bound
        plan = partial(known.plan, spec, query.values)
        prepared = await self.work.run_sized(principal, spec.size, plan, begun=True)
        self._statements[key] = known  # again, because it takes more memory now
        return prepared

    async def _plan(
        self, spec: RawQuerySpec, principal: Principal, grant: Grant, counts: bool
    ) -> PreparedQuery:
        """Return the query, parsed and planned for its values alone."""
        parse = partial(parse_query, spec.message, Violations())
        query = await self.work.run_sized(principal, spec.size, parse)
        query = replace(query, counts=counts)
        access = await access_under(self.catalog, spec.table, grant)
        plan = partial(plan_anew, query, access.table, access.rule, access.token_scope)
        planned = await self.work.run_sized(principal, spec.size, plan, begun=True)
        return _prepared(planned, access, spec.size)

    async def counting(self, prepared: PreparedQuery, principal: Principal) -> Plan:
        """Return the plan that counts all items that a query matches.

        It uses the access path of the query's pages, so that both see the same items: an index may
        hold fewer items than the table, where the catalog or the caller allows that. Raises
        RateLimited as `prepare` does.
        """
        plan = prepared.plan
        known = self._counting_plans.get(id(plan))
        if known is not None:
            return known[1]
        query = replace(prepared.query, counts=True, index=plan.path.label)
        plan_count = partial(plan_query, query, plan.table, plan.rule, is_pinned=True)
        counting = await self.work.run_sized(principal, prepared.size, plan_count, begun=True)
        if prepared.size <= MAX_CACHED_QUERY_BYTES:
            self._counting_plans[id(plan)] = prepared, counting
        return counting

    async def is_outdated(self, access: TableAccess) -> bool:
        """Describe the table again; return whether the catalog has changed since `access`.

        To be called when DynamoDB has refused a plan that was made under that access.
        """
        await self.catalog.describe_again(access.table.name)
        return self.catalog.version != access.version

    async def table(self, name: str, principal: Principal, violations: Violations) -> TableAccess:
        """Return a caller's access to a table that is read without a query; raise as `prepare`."""
        return await open_table(self.catalog, principal, name, violations)


def _prepared(planned: PlannedQuery, access: TableAccess, size: int) -> PreparedQuery:
    query = planned.query
    identity = planned.digest + (b"count" if query.counts else b"")
    return PreparedQuery(query, planned.plan, access, identity, size)
