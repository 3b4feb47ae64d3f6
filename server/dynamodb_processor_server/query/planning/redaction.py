"""Redaction: a plan in the terms of its caller, without the conditions of a row rule."""

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
    """Return the plan to show for the caller's own condition on the path of `plan`.

    It is not for reading: if the rule alone fixes a partition, this plan has no partition to read.
    """
    if plan.rule is None:
        return plan
    caller_terms = caller_conditions(stored_query(query, plan.table))
    schema, key = _caller_key(plan, caller_terms)
    fetches = plan.hydration is not None
    shown = Candidate(plan.path, _operation(plan, key), key, fetches)
    view = build_plan(query, plan.table, shown, plan.rejected, caller_terms)
    return replace(view, path=replace(plan.path, key=schema), hides_cost=plan.hides_cost)


def _caller_key(plan: Plan, caller_terms: tuple[Condition, ...]) -> tuple[KeySchema, KeyCondition]:
    """Return the part of the path's key whose partition the caller fixes, and its condition."""
    whole = plan.path.key
    if plan.operation is Operation.SCAN:
        return whole, plan.key
    missing = unfixed_partition(whole, caller_terms)
    schema = KeySchema(tuple(a for a in whole.partition if a not in missing), whole.sort)
    key = key_condition(schema, caller_terms)
    return schema, replace(key, complete=key.complete and not missing)


def _operation(plan: Plan, key: KeyCondition) -> Operation:
    match plan.operation:
        case Operation.SCAN:
            return Operation.SCAN
        case Operation.GET if key.complete:
            return Operation.GET
    return Operation.QUERY if key.branches else Operation.NOTHING
