"""The tables and cases of `tests/cases/planner.json`, and plans of other queries on them."""

from __future__ import annotations

import json
from pathlib import Path as FilePath
from typing import Any, Final

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.ast import Condition, Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

FILE: Final = FilePath(__file__).parents[3] / "cases" / "planner.json"
DOCUMENT: Final[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
CASES: Final[list[dict[str, Any]]] = DOCUMENT["cases"]


def table_named(name: str) -> Table:
    """Return a table of the cases."""
    described = DOCUMENT["tables"][name]
    keys = DOCUMENT["tables"][described.get("like", name)]
    partition, sort = keys["keys"]
    indexes = tuple(
        Index(
            index_name,
            index.get("local", False),
            tuple(index["partition"]),
            tuple(index["sort"]),
            index.get("projection", "ALL"),
            tuple(index.get("include", ())),
        )
        for index_name, index in keys["indexes"].items()
    )
    schema = Schema(name, partition, sort, indexes, keys["types"])
    return make_table(schema, **described.get("declares", {}))


def condition_of(text: str | None) -> Condition | None:
    """Parse an expression; None for no expression."""
    return parse_expression(text, {}) if text else None


def query_of(case: dict[str, Any]) -> Query:
    """Return the query of a case."""
    fields = dict(case["query"])
    return Query(
        condition=condition_of(fields.pop("expression", None)),
        projection=tuple(map(parse_path, fields.pop("projection", ()))),
        **fields,
    )


def plan_for(table: str, text: str | None = None, **fields: Any) -> Plan:
    """Return the plan of one query."""
    query = Query(table, condition_of(text), **fields)
    return plan_query(query, table_named(table))
