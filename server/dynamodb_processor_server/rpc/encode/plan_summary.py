"""Describes a plan for a log line: its path and its conditions, without any value."""

from __future__ import annotations

from typing import Any, Final

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_server.query.expression.ast import And, Condition, Or, Path, Query
from dynamodb_processor_server.query.expression.condition_text import ConditionText
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.redaction import caller_view
from dynamodb_processor_server.rpc.encode.explanation import (
    access_path,
    expressible,
    key_condition,
)

_MAX_TEXT: Final = 500  # characters of one condition, whose attributes a caller may have invented


class _ConditionShape(ConditionText):
    """Formats conditions with `?` for each value and `[…]` for the rest of a document path.

    Keys of maps may be data, such as the names of people. Names of attributes are the table's.
    """

    IN_AND = (And, Or)
    IN_OR = (Or,)

    def path(self, path: Path) -> str:
        """Return the attribute of a document path."""
        return str(Path(path.parts[:1])) + ("[…]" if len(path.parts) > 1 else "")

    def value(self, value: Value) -> str:
        """Return the placeholder."""
        return "?"

    def membership(self, operand: str, options: list[str]) -> str:
        """Return the text of an IN, with one placeholder for all values."""
        return f"{operand} IN ({', '.join(dict.fromkeys(options))})"


def plan_summary(query: Query, plan: Plan) -> dict[str, Any]:
    """Return the fields of a log line that describe how a query is read.

    The names are those of `ExplainQueryResponse`. Conditions of a row rule are left out, as
    everywhere; `row_rule` says that there is one.
    """
    shown = caller_view(query, plan)
    reads = plan.operation is not Operation.NOTHING
    return {
        "path": query_pb2.AccessPath.Name(access_path(plan)).removeprefix("ACCESS_PATH_"),
        "index": plan.path.label,
        "branches": len(plan.requests),
        "key_condition": _shape(key_condition(shown)),
        "filter_expression": _shape(shown.filter if reads else None),
        "local_filter": _shape(expressible(shown.local_filter) if reads else None),
        "hydrates": plan.hydration is not None,
        "consistent": plan.consistent,
        "row_rule": plan.rule is not None,
    }


def _shape(condition: Condition | None) -> str:
    text = "" if condition is None else _ConditionShape().condition(condition)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
