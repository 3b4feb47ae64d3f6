"""A plan as its caller may see it: in the caller's own words, without what a row rule adds."""

from __future__ import annotations

from dataclasses import replace

from dynamodb_processor_server.catalog.schema import KeySchema
from dynamodb_processor_server.query.expression.ast import Condition, Query
from dynamodb_processor_server.query.planning.candidate import Candidate
from dynamodb_processor_server.query.planning.key_condition import (
    KeyCondition,
    key_condition,
    unfixed_partition,
)
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.planner import caller_conditions, stored_query
from dynamodb_processor_server.query.planning.request_builder import build_plan


def caller_view(query: Query, plan: Plan) -> Plan:
    """Return the plan that would be shown for the caller's own condition on the path of `plan`.

    It is for showing only: where the rule alone fixes a partition, it could not be read.
    """
    if plan.rule is None:
        return plan
    own = caller_conditions(stored_query(query, plan.table))
    schema, key = _own_key(plan, own)
    fetches = plan.hydration is not None
    shown = Candidate(plan.path, _operation(plan, key), key, fetches)
    view = build_plan(query, plan.table, shown, plan.rejected, own)
    return replace(view, path=replace(plan.path, key=schema), hides_cost=plan.hides_cost)


def _own_key(plan: Plan, own: tuple[Condition, ...]) -> tuple[KeySchema, KeyCondition]:
    """Return the part of the path's key of which the caller fixes the partition, and how."""
    whole = plan.path.key
    if plan.operation is Operation.SCAN:
        return whole, plan.key
    missing = unfixed_partition(whole, own)
    schema = KeySchema(tuple(a for a in whole.partition if a not in missing), whole.sort)
    key = key_condition(schema, own)
    return schema, replace(key, complete=key.complete and not missing)


def _operation(plan: Plan, key: KeyCondition) -> Operation:
    match plan.operation:
        case Operation.SCAN:
            return Operation.SCAN
        case Operation.GET if key.complete:
            return Operation.GET
    return Operation.QUERY if key.branches else Operation.NOTHING
