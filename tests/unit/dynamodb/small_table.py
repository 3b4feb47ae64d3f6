"""A small table, and plans to read it with."""

from __future__ import annotations

from typing import Any, Final

from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

SCHEMA: Final = Schema(
    "readings",
    "device",
    "seq",
    (Index("by_level", False, ("level",), ("seq",)),),
    {"device": "S", "seq": "N", "level": "S"},
)
# A deadline that is never reached.
FAR: Final = 1e9


def make_items(count: int, device: str = "d") -> list[dict[str, Any]]:
    """Return items of one device, in order; every third is high, the others are low."""
    return [
        {
            "device": {"S": device},
            "seq": {"N": str(number)},
            "level": {"S": "low" if number % 3 else "high"},
            "value": {"N": str(number * 10)},
        }
        for number in range(count)
    ]


def make_plan(
    text: str = "device = 'd'",
    *,
    projection: tuple[str, ...] = (),
    schema: Schema = SCHEMA,
    **fields: Any,
) -> Plan:
    """Return the plan of a query; `fields` are those of the query or of the table's config."""
    given = {
        name: fields.pop(name) for name in ("index", "descending", "consistent") if name in fields
    }
    query = Query(
        schema.table,
        parse_expression(text, {}) if text else None,
        projection=tuple(map(parse_path, projection)),
        **given,
    )
    return plan_query(query, make_table(schema, **fields))


# The service checks both conditions on `seq`, which is a key of the index.
LOCAL: Final = make_plan("level = 'low' AND seq <> 1 AND seq <> 2", index="by_level")
