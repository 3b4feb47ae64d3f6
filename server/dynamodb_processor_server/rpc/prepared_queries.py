"""From a `QuerySpec` to a planned query, remembered."""

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

# Bytes of all queries that are remembered; a plan takes up to forty times as many. One query takes
# a few more, so that there are not too many small ones.
_MAX_CACHED_QUERY_BYTES: Final = 2 * 1024 * 1024
_OVERHEAD_PER_QUERY: Final = 128


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A validated query and its plan; its tokens are bound to `identity` and to who calls.

    It is good while `access` is. `size` is how many bytes the query has as it was received.
    """

    query: Query
    plan: Plan
    access: TableAccess
    identity: bytes
    size: int


class QueryPreparer:
    """Parses and plans queries, each once per version of the catalog and of what is granted."""

    def __init__(self, catalog: Catalog, work: PlanningWork) -> None:
        self._catalog = catalog
        self.work = work
        self._plans: LRUCache[tuple[int, bool, bytes, bytes], PreparedQuery] = LRUCache(
            _MAX_CACHED_QUERY_BYTES, lambda prepared: prepared.size + _OVERHEAD_PER_QUERY
        )
        # By the identity of the plan for pages, which is kept with it and so stays its own.
        self._counting_plans: LRUCache[int, tuple[PreparedQuery, Plan]] = LRUCache(
            _MAX_CACHED_QUERY_BYTES, lambda kept: kept[0].size + _OVERHEAD_PER_QUERY
        )

    @property
    def version(self) -> int:
        """Of the catalog; plans of another one are not to be used any more."""
        return self._catalog.version

    async def prepare(
        self,
        spec: RawQuerySpec,
        principal: Principal,
        mistakes: tuple[FieldViolation, ...],
        *,
        counts: bool = False,
    ) -> PreparedQuery:
        """Return the planned query; one that `counts` is planned for counting.

        Raises PermissionDenied before anything else is looked at, then InvalidRequest (for
        `mistakes` too), TableNotFound, PreconditionFailed; and RateLimited where the principal's
        planning time is used up and the plan is not remembered.
        """
        grant = granted(principal, spec.table)
        parse = partial(parse_query, spec.message)
        if mistakes:
            await self.work.run_sized(principal, spec.size, partial(parse, Violations(mistakes)))
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
            # Describing the table on first use moves the version on.
            self._plans[access.version, counts, grant.version, spec.key] = prepared
        return prepared

    async def counting(self, prepared: PreparedQuery, principal: Principal) -> Plan:
        """Return the plan that counts all that a query matches.

        On the path of its pages, so that both see the same items: an index may hold fewer than the
        table, where the catalog or the caller says that this does not matter. Raises RateLimited as
        `prepare` does.
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
        """Describe the table again; return whether the catalog is not that of `access` any more.

        To be called when DynamoDB has refused what was planned under that access.
        """
        await self._catalog.describe_again(access.table.name)
        return self._catalog.version != access.version

    async def table(self, name: str, principal: Principal, violations: Violations) -> TableAccess:
        """Return a caller's access to a table that is read without a query.

        Refusals come in the same order.
        """
        return await open_table(self._catalog, principal, name, violations)


def _prepared(query: Query, access: TableAccess, size: int) -> PreparedQuery:
    plan = plan_query(query, access.table, access.rule)
    purpose = b"count" if query.counts else b""
    identity = canonical.digest((access.token_scope, query)) + purpose
    return PreparedQuery(query, plan, access, identity, size)
