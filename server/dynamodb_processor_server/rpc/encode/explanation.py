"""Converts a query's plan to an `ExplainQueryResponse`."""

from __future__ import annotations

from typing import Final

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import ExplainQueryResponse
from dynamodb_processor_server.catalog.schema import PathKind
from dynamodb_processor_server.query.expression.ast import (
    Comparison,
    Condition,
    In,
    Literal,
    NotExpired,
    Path,
    Query,
    conjunction,
    conjuncts,
)
from dynamodb_processor_server.query.expression.formatter import ExpressionFormatter
from dynamodb_processor_server.query.expression.syntax_hints import bare_word_hint, bare_words
from dynamodb_processor_server.query.planning.key_condition import KeyCondition, Selectivity
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.redaction import caller_view
from dynamodb_processor_server.query.planning.refusals import explained_reason

_OPERATIONS: Final = {
    Operation.GET: query_pb2.ACCESS_PATH_GET,
    Operation.SCAN: query_pb2.ACCESS_PATH_SCAN,
    Operation.NOTHING: query_pb2.ACCESS_PATH_NOTHING,
}
_KINDS: Final = {
    PathKind.TABLE: query_pb2.ACCESS_PATH_TABLE,
    PathKind.LOCAL: query_pb2.ACCESS_PATH_LOCAL_INDEX,
    PathKind.GLOBAL: query_pb2.ACCESS_PATH_GLOBAL_INDEX,
}


def explain(query: Query, plan: Plan) -> ExplainQueryResponse:
    """Return a description of a query's plan, in terms of the expression language.

    The conditions that a row rule adds are left out.
    """
    index = plan.disclosure.index_used
    plan = caller_view(query, plan)
    reads = plan.operation is not Operation.NOTHING
    return ExplainQueryResponse(
        path=access_path(plan),
        index=index,
        key_condition=_text(key_condition(plan)),
        filter_expression=_text(plan.filter if reads else None),
        local_filter=_text(expressible(plan.local_filter) if reads else None),
        rejected=[
            query_pb2.RejectedPath(
                index=other.path.label, reason=explained_reason(other, plan.table)
            )
            for other in plan.rejected
            if plan.table.may_show_path(other.path)
        ],
        branches=len(plan.requests),
        warnings=[*_warnings(plan), *_name_hints(query)],
    )


def access_path(plan: Plan) -> query_pb2.AccessPath.ValueType:
    """Return how a plan reads: by key, by query of the table or an index, by scan, or not."""
    return _OPERATIONS.get(plan.operation, _KINDS[plan.path.kind])


def expressible(condition: Condition | None) -> Condition | None:
    """Return the part of a condition that the expression language can express."""
    parts = conjuncts(condition)
    return conjunction(tuple(part for part in parts if not isinstance(part, NotExpired)))


def _text(condition: Condition | None) -> str:
    return "" if condition is None else ExpressionFormatter().condition(condition)


def key_condition(plan: Plan) -> Condition | None:
    """Return the conditions on the key that is read; None for a scan, or where nothing is read."""
    names = [attribute.name for attribute in plan.path.key.partition]
    if plan.operation in (Operation.SCAN, Operation.NOTHING):
        return None
    fixed = [_fixed(name, index, plan.key) for index, name in enumerate(names)]
    return conjunction((*fixed, *plan.key.sort_conditions))


def _fixed(name: str, index: int, key: KeyCondition) -> Condition:
    values = tuple(dict.fromkeys(branch[index] for branch in key.branches))
    if len(values) == 1:
        return Comparison("=", Path((name,)), Literal(values[0]))
    return In(Path((name,)), tuple(map(Literal, values)))


def _name_hints(query: Query) -> list[str]:
    words = dict.fromkeys(word for _, word in bare_words(query.condition))
    return [f"names: {bare_word_hint(word)}" for word in words]


def _warnings(plan: Plan) -> list[str]:
    warnings: list[str] = []
    if plan.operation is Operation.SCAN:
        warnings.append("scan: every page reads on through everything, whatever it returns")
    if not plan.exact_limit and plan.operation is Operation.QUERY:
        whole = plan.key.selectivity is Selectivity.PARTITION
        read = "everything in the partition" if whole else "everything in the range"
        warnings.append(f"filter: {read} is read and paid for, matching or not")
    if plan.hydration is not None:
        warnings.append(
            "hydration: the index does not hold all that is asked for, so every item it shows is "
            "got from the table, for half a read unit or more each"
        )
    if len(plan.requests) > 1:
        warnings.append(
            f"branches: each Query call reads into all {len(plan.requests)} partitions again; "
            "StreamQuery reads each item once"
        )
    if plan.hides_cost:
        warnings.append(
            "access rules: items are left out of what is read, so the cost is not told, and "
            "budgets of items and read units are refused"
        )
    return warnings
