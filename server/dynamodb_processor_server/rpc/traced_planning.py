"""Makes spans of parsing and planning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.catalog import Catalog
from dynamodb_processor_server.errors import FieldViolation
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.rpc.decode.page_request import RawQuerySpec
from dynamodb_processor_server.rpc.planning import PlanningWork
from dynamodb_processor_server.rpc.prepared_queries import PreparedQuery, QueryPreparer

if TYPE_CHECKING:  # a server without tracing does not import OpenTelemetry
    from opentelemetry.trace import Span

    from dynamodb_processor_server.telemetry.tracing.spans import Spans

#: The names of the spans of this module.
PLAN: Final = "plan query"
PLAN_COUNT: Final = "plan count"


class TracedQueryPreparer(QueryPreparer):
    """Prepares queries, each in a span; see `QueryPreparer`."""

    def __init__(self, spans: Spans, catalog: Catalog, work: PlanningWork) -> None:
        super().__init__(catalog, work)
        self._spans = spans

    async def prepare(
        self,
        spec: RawQuerySpec,
        principal: Principal,
        violations: tuple[FieldViolation, ...],
        *,
        counts: bool = False,
    ) -> PreparedQuery:
        """Return the planned query, remembered or not; see `QueryPreparer.prepare`."""
        with self._spans.child(PLAN) as span:
            prepared = await super().prepare(spec, principal, violations, counts=counts)
            _describe(span, prepared.plan)
            return prepared

    async def counting(self, prepared: PreparedQuery, principal: Principal) -> Plan:
        """Return the plan that counts; see `QueryPreparer.counting`."""
        with self._spans.child(PLAN_COUNT) as span:
            plan = await super().counting(prepared, principal)
            _describe(span, plan)
            return plan


def _describe(span: Span, plan: Plan) -> None:
    """Record the access path of a plan: names and numbers, no values."""
    if span.is_recording():
        span.set_attribute("dynamodb_processor.table", plan.table.name)
        span.set_attribute("dynamodb_processor.index", plan.path.label)
        span.set_attribute("dynamodb_processor.operation", plan.operation.value)
        span.set_attribute("dynamodb_processor.partitions", len(plan.requests))
