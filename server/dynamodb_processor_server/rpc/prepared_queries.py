"""Parses and plans queries, and caches the plans."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import FieldViolation
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.rpc.decode.page_request import MAX_CACHED_QUERY_BYTES, RawQuerySpec
from dynamodb_processor_server.rpc.decode.query import parse_query
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.table_access import (
    TableAccess,
    access_under,
    granted,
    open_table,
)

# Bytes of all cached queries; a plan takes up to forty times as many. Each query counts a few bytes
# more, which bounds the number of small ones.
_MAX_CACHED_QUERY_BYTES: Final = 2 * 1024 * 1024
_OVERHEAD_PER_QUERY: Final = 128


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


class QueryPreparer:
    """Parses and plans queries, each once per version of the catalog and of the grant."""

    def __init__(self, catalog: Catalog, work: PlanningWork) -> None:
        self._catalog = catalog
        self.work = work
        self._plans: LRUCache[tuple[int, bool, bytes, bytes], PreparedQuery] = LRUCache(
            _MAX_CACHED_QUERY_BYTES, lambda prepared: prepared.size + _OVERHEAD_PER_QUERY
        )
        # By the `id` of the plan for pages, which the entry holds, so that no other plan gets it.
        self._counting_plans: LRUCache[int, tuple[PreparedQuery, Plan]] = LRUCache(
            _MAX_CACHED_QUERY_BYTES, lambda kept: kept[0].size + _OVERHEAD_PER_QUERY
        )

    @property
    def version(self) -> int:
        """The version of the catalog; plans of another version must not be used any more."""
        return self._catalog.version

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
        grant = granted(principal, spec.table)
        parse = partial(parse_query, spec.message)
        if violations:
            await self.work.run_sized(principal, spec.size, partial(parse, Violations(violations)))
        if spec.key is not None:
            known = self._plans.get((self._catalog.version, counts, grant.version, spec.key))
            if known is not None:
                return known
        query = await self.work.run_sized(principal, spec.size, partial(parse, Violations()))
        query = replace(query, counts=counts)
        access = await access_under(self._catalog, spec.table, grant)
        prepared = await self.work.run_sized(
            principal, spec.size, partial(_prepared, query, access, spec.size), begun=True
        )
        if spec.key is not None:
            # Describing the table on its first use changes the catalog's version.
            self._plans[access.version, counts, grant.version, spec.key] = prepared
        return prepared

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
        counting = await self.work.run_sized(
            principal, prepared.size, partial(plan_query, query, plan.table, plan.rule), begun=True
        )
        if prepared.size <= MAX_CACHED_QUERY_BYTES:
            self._counting_plans[id(plan)] = prepared, counting
        return counting

    async def is_outdated(self, access: TableAccess) -> bool:
        """Describe the table again; return whether the catalog has changed since `access`.

        To be called when DynamoDB has refused a plan that was made under that access.
        """
        await self._catalog.describe_again(access.table.name)
        return self._catalog.version != access.version

    async def table(self, name: str, principal: Principal, violations: Violations) -> TableAccess:
        """Return a caller's access to a table that is read without a query; raise as `prepare`."""
        return await open_table(self._catalog, principal, name, violations)


def _prepared(query: Query, access: TableAccess, size: int) -> PreparedQuery:
    plan = plan_query(query, access.table, access.rule)
    purpose = b"count" if query.counts else b""
    identity = canonical.digest((access.token_scope, query)) + purpose
    return PreparedQuery(query, plan, access, identity, size)
