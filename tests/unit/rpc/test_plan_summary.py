"""The description of a plan for a log line: its path and conditions, without any value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.rpc.encode.plan_summary import plan_summary
from tests.unit.query.planning.plans import CASES, condition_of, query_of, table_named
from tests.unit.query.planning.row_rules import TENANT, plan


def summary(text: str) -> dict[str, Any]:
    """Return the summary of a query of the cases' table of events."""
    query = Query("events", condition_of(text))
    return plan_summary(query, plan_query(query, table_named("events")))


def test_a_summary_has_the_path_and_the_shape_of_each_condition() -> None:
    """Each value is a `?`, and an IN has one for all of its values."""
    assert summary("tenant_id IN ('t', 'v') AND event_id > 'e' AND note <> 'x'") == {
        "path": "TABLE",
        "index": "@table",
        "branches": 2,
        "key_condition": "tenant_id IN (?) AND event_id > ?",
        "filter_expression": "note <> ?",
        "local_filter": "",
        "hydrates": False,
        "consistent": False,
        "row_rule": False,
    }


def test_keys_of_maps_are_left_out() -> None:
    """They may be data, such as the names of people."""
    found = summary("tenant_id = 't' AND ages.\"Ida Jensen\" > 5 AND size(tags[3]) = 2")
    assert found["filter_expression"] == "ages[…] > ? AND size(tags[…]) = ?"


def test_a_long_condition_is_cut() -> None:
    """A caller may name as many attributes as a query has room for."""
    text = " AND ".join(f"attribute_{number} = 1" for number in range(100))
    shape = summary(f"tenant_id = 't' AND {text}")["filter_expression"]
    assert len(shape) == 500
    assert shape.endswith("…")


def test_a_row_rule_is_left_out() -> None:
    """The line says that there is one; the rest is the caller's own condition."""
    text = "at > 5 AND note = 'x'"
    found = plan_summary(Query("events", condition_of(text)), plan(text, f"{TENANT} AND at <= 100"))
    assert found["row_rule"]
    assert (found["path"], found["index"]) == ("GLOBAL_INDEX", "by_tenant")
    assert (found["key_condition"], found["filter_expression"]) == ("at > ?", "note = ?")


@pytest.mark.parametrize("case", [c for c in CASES if "plan" in c], ids=lambda case: case["name"])
def test_no_plan_has_a_value_in_its_summary(case: dict[str, Any]) -> None:
    """Each plan among the planner's cases has a summary without literals and numbers."""
    query = query_of(case)
    described = plan_summary(query, plan_query(query, table_named(query.table)))
    names = ("key_condition", "filter_expression", "local_filter")
    shapes = " ".join(described[name] for name in names)
    assert "'" not in shapes
    assert not [word for word in shapes.split() if word.strip("(),").replace(".", "").isdigit()]
    json.dumps(described)
