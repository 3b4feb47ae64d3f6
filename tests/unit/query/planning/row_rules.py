"""A table of events, and plans of queries on it under row rules."""

from __future__ import annotations

from typing import Final

import pytest

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule
from tests.support.datasets import Index, Schema
from tests.unit.query.planning.plans import condition_of
from tests.unit.query.tables import make_table

SCHEMA: Final = Schema(
    "events",
    "user_id",
    "event_id",
    (
        Index("by_tenant", False, ("tenant_id",), ("at",)),
        Index("by_kind", False, ("kind",), ("at",)),
        Index("by_kind_and_tenant", False, ("kind", "tenant_id"), ("at",)),
        Index("by_level", False, ("level",), ("at",), "KEYS_ONLY"),
    ),
    {"user_id": "S", "event_id": "S", "tenant_id": "S", "kind": "S", "at": "N", "level": "N"},
)
TENANT: Final = "tenant_id = 'acme'"
ACME: Final = {"S": "acme"}


def table(**options: object) -> Table:
    """Return the table of events; all of its items have all keys."""
    return make_table(SCHEMA, **{"required": ["at", "kind", "tenant_id", "level"], **options})


def rule_of(text: str, *, as_filter: bool = False) -> RowRule:
    """Return the row rule with this condition."""
    return RowRule(parse_expression(text, {}), as_filter)


def plan(
    text: str = "", rule: str | None = TENANT, *, as_filter: bool = False, **fields: object
) -> Plan:
    """Return the plan of a query under a rule."""
    on = fields.pop("on", None) or table()
    query = Query("events", condition_of(text), **fields)  # type: ignore[arg-type]
    assert isinstance(on, Table)
    return plan_query(query, on, None if rule is None else rule_of(rule, as_filter=as_filter))


def refusal(text: str, rule: str = TENANT, **fields: object) -> PreconditionFailed:
    """Return the error with which a query under a rule is refused."""
    with pytest.raises(PreconditionFailed) as caught:
        plan(text, rule, **fields)  # type: ignore[arg-type]
    return caught.value
