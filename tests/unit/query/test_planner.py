"""The planner: a table of cases (`tests/cases/planner.json`), and what holds for every plan."""

from __future__ import annotations

import json
import re
from pathlib import Path as FilePath
from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.model import Condition, Query, conjuncts
from dynamodb_processor_server.query.parser import parse_expression, parse_path
from dynamodb_processor_server.query.plan import Plan
from dynamodb_processor_server.query.planner import plan_query
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

FILE: Final = FilePath(__file__).parents[2] / "cases" / "planner.json"
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
    """Return the condition that a text says, None for none."""
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


def summary_of(plan: Plan, expected: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan says about the things that a case speaks of."""
    request = plan.request
    names = request.get("ExpressionAttributeNames", {})
    fetched = re.sub(
        r"#\d+", lambda match: names[match[0]], request.get("ProjectionExpression", "")
    )
    summary = {
        "path": plan.path.label,
        "operation": plan.operation.value,
        "key": conjuncts(plan.key_condition),
        "filter": conjuncts(plan.filter),
        "local": conjuncts(plan.local_filter),
        "exact_limit": plan.exact_limit,
        "descending": request.get("ScanIndexForward") is False,
        "fetched": fetched.split(", ") if fetched else [],
        "kept": sorted(plan.shape.attributes or ()),
        "cut": [str(path) for path in plan.shape.paths],
        "select": request.get("Select"),
    }
    if "rejected" in expected:
        summary["rejected"] = {each.path.label: each.reason for each in plan.rejected}
    return summary


def expected_of(expected: dict[str, Any]) -> dict[str, Any]:
    """Return what a case expects of everything that a summary says."""
    parts = {
        name: conjuncts(condition_of(expected.get(name))) for name in ("key", "filter", "local")
    }
    defaults = {
        "operation": "query",
        "descending": False,
        "fetched": [],
        "cut": [],
        "select": None,
    }
    return {**defaults, **expected, **parts, "kept": sorted(expected.get("kept", ()))}


def test_the_cases_are_named_apart() -> None:
    """A name is what a failing case is found by."""
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) >= 25


@pytest.mark.parametrize("case", [c for c in CASES if "plan" in c], ids=lambda case: case["name"])
def test_queries_are_planned(case: dict[str, Any]) -> None:
    """The cases of `planner.json` that can be served."""
    plan = plan_query(query_of(case), table_named(case["query"]["table"]))
    assert summary_of(plan, case["plan"]) == expected_of(case["plan"])


@pytest.mark.parametrize("case", [c for c in CASES if "error" in c], ids=lambda case: case["name"])
def test_queries_are_refused(case: dict[str, Any]) -> None:
    """The cases of `planner.json` that cannot be served, with words that say why."""
    expected = case["error"]
    with pytest.raises((InvalidRequest, PreconditionFailed)) as caught:
        plan_query(query_of(case), table_named(case["query"]["table"]))
    error = caught.value
    if isinstance(error, InvalidRequest):
        (violation,) = error.violations
        assert violation.field == expected["field"]
        assert expected["words"] in violation.description
    else:
        assert error.reason == expected["reason"]
        assert expected["words"] in error.message


def test_all_violations_are_reported_at_once() -> None:
    """Each attribute that is not shown, in the expression and in the projection."""
    projection = (parse_path("user_id"), parse_path("title"), parse_path("secret"))
    with pytest.raises(InvalidRequest) as caught:
        plan_for("events_narrow", "user_id = 'u' AND doc.x = 1", projection=projection)
    assert [violation.field for violation in caught.value.violations] == [
        "query.expression", "query.expression", "query.projection[0]", "query.projection[2]",
    ]  # fmt: skip


def test_the_request_is_aliased_throughout() -> None:
    """No attribute's name and no value stands in an expression; nothing is there unused."""
    plan = plan_for(
        "events",
        "status = 'open' AND priority BETWEEN 1 AND 3 AND title <> '3'",
        projection=(parse_path("title"),),
    )
    assert plan.request == {
        "TableName": "events",
        "IndexName": "by_status",
        "ReturnConsumedCapacity": "TOTAL",
        "ScanIndexForward": True,
        "KeyConditionExpression": "#0 = :0 AND #1 BETWEEN :1 AND :2",
        "FilterExpression": "#2 <> :3",
        "ProjectionExpression": "#2, #0, #1, #3, #4",
        "ExpressionAttributeNames": {
            "#0": "status", "#1": "priority", "#2": "title", "#3": "tenant_id", "#4": "event_id",
        },
        "ExpressionAttributeValues": {
            ":0": {"S": "open"}, ":1": {"N": "1"}, ":2": {"N": "3"}, ":3": {"S": "3"},
        },
    }  # fmt: skip


def test_a_scan_asks_for_nothing_that_it_does_not_need() -> None:
    """Empty maps and a direction would be errors."""
    assert plan_for("events_vouched").request == {
        "TableName": "events_vouched",
        "ReturnConsumedCapacity": "TOTAL",
    }


def test_strong_reads_say_so() -> None:
    """And eventual ones do not."""
    assert plan_for("events", "tenant_id = 't'", strong=True).request["ConsistentRead"] is True
    assert "ConsistentRead" not in plan_for("events", "tenant_id = 't'").request


@pytest.mark.parametrize(
    ("text", "pushed"),
    [
        (f"x IN ({', '.join(map(str, range(100)))})", True),
        (f"x IN ({', '.join(map(str, range(101)))})", False),
        (" OR ".join(["x = 1"] * 140), True),
        (" OR ".join(["x = 1"] * 141), False),
        ("x = 1 AND " * 160 + "x = 1", None),
        (" OR ".join(f"x[{n}].yyyy[{n}] < {n}" for n in range(140)), True),
        (" OR ".join(f"a.b.c.d.e.f.g.h.i.j.k.l[{n}] < 0" for n in range(120)), False),
    ],
)
def test_what_is_too_long_for_dynamodb_is_checked_by_the_service(
    text: str, pushed: bool | None
) -> None:
    """More than 100 operands, 280 operators or 4 KiB; None: a part here and a part there."""
    plan = plan_for("events", f"tenant_id = 't' AND ({text})")
    assert (plan.filter is not None) is (pushed is not False)
    assert (plan.local_filter is not None) is (pushed is not True)
    assert len(plan.request.get("FilterExpression", "")) <= 4096


def test_cache_keys_tell_reads_apart_and_nothing_else() -> None:
    """Spelling, who asks and how many items do not matter; what is read does."""
    base = plan_for("events", "tenant_id = 't' AND n > 1").cache_key
    same = [
        plan_for("events", "n > 1.0 AND tenant_id IN ('t')"),
        plan_for("events", "tenant_id = 't' AND n > 1", max_items=5),
        plan_for("events", "tenant_id = 't' AND n > 1", index="@table"),
    ]
    other = [
        plan_for("events", "tenant_id = 't' AND n > 2"),
        plan_for("events", "tenant_id = 't' AND n > '1'"),
        plan_for("events", "tenant_id = 'u' AND n > 1"),
        plan_for("events", "tenant_id = 't' AND n > 1", descending=True),
        plan_for("events", "tenant_id = 't' AND n > 1", strong=True),
        plan_for("events", "tenant_id = 't' AND n > 1", projection=(parse_path("n"),)),
        plan_for("events", "tenant_id = 't' AND n > 1 AND occurred_at > 'a'"),
        plan_for("events_sparse", "tenant_id = 't' AND n > 1"),
    ]
    assert {plan.cache_key for plan in same} == {base}
    assert len({base, *(plan.cache_key for plan in other)}) == len(other) + 1


def test_tables_of_other_regions_and_roles_have_cache_keys_of_their_own() -> None:
    """The same table name elsewhere is another table."""
    schema = Schema("one-table", "id", None, (), {"id": "S"})
    query = Query("one-table", parse_expression("id = 'x'", {}))
    role = "arn:aws:iam::123456789012:role/reader"
    plans = [
        plan_query(query, make_table(schema, **declared))
        for declared in ({}, {"region": "eu-west-1"}, {"role_arn": role})
    ]
    assert len({plan.cache_key for plan in plans}) == 3
