"""The planner: a table of cases (`tests/cases/planner.json`), and properties of every plan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.expression.ast import (
    Comparison,
    Condition,
    In,
    Literal,
    Path,
    Query,
    conjuncts,
)
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Hydration, Operation, Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from tests.support.datasets import Index, Schema
from tests.unit.query.planning.plans import CASES, condition_of, plan_for, query_of, table_named
from tests.unit.query.tables import make_table

_CONDITIONS: Final = ("shown", "checked")  # on the attributes of the index, on the item itself


def key_of(plan: Plan) -> tuple[Condition, ...]:
    """Return a plan's key condition, with equality or an IN for each partition attribute.

    A plan without a read has none.
    """
    branches = plan.key.branches
    if plan.operation in (Operation.NOTHING, Operation.SCAN):
        assert branches == ((),) * len(plan.requests)
        return ()
    columns = [tuple(dict.fromkeys(column)) for column in zip(*branches, strict=True)]
    assert branches == tuple(product(*columns))
    fixed: list[Condition] = []
    for attribute, values in zip(plan.path.key.partition, columns, strict=True):
        path, options = Path((attribute.name,)), tuple(map(Literal, values))
        several = len(options) > 1
        fixed.append(In(path, options) if several else Comparison("=", path, options[0]))
    return (*fixed, *plan.key.sort_conditions)


def summary_of(plan: Plan, expected: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of a plan that a case has expectations for."""
    request = plan.requests[0] if plan.requests else {}
    summary = {
        "path": plan.path.label,
        "operation": plan.operation.value,
        "key": key_of(plan),
        "filter": conjuncts(plan.filter),
        "local": conjuncts(plan.local_filter),
        "exact_limit": plan.exact_limit,
        "descending": plan.descending,
        "fetched": fetched_by(request),
        "kept": sorted(plan.projection.attributes or ()),
        "cut": [str(path) for path in plan.projection.paths],
        "select": request.get("Select"),
        "gets": None if plan.hydration is None else hydration_of(plan.hydration),
    }
    if "rejected" in expected:
        summary["rejected"] = {each.path.label: each.reason for each in plan.rejected}
    return summary


def fetched_by(request: Mapping[str, Any]) -> list[str]:
    """Return the attributes that a request names, none if it requests all."""
    names = request.get("ExpressionAttributeNames", {})
    text = request.get("ProjectionExpression", "")
    return [
        re.sub(r"#\d+", lambda match: names[match[0]], path) for path in text.split(", ") if path
    ]


def hydration_of(hydration: Hydration) -> dict[str, Any]:
    """Return the summary of a plan's hydration."""
    return {
        "fetched": fetched_by(hydration.request),
        "shown": conjuncts(hydration.shown),
        "checked": conjuncts(hydration.condition),
        "selective": hydration.selective,
    }


def expected_of(expected: dict[str, Any]) -> dict[str, Any]:
    """Return a case's expectation for every part of a summary."""
    parts: dict[str, Any] = {
        name: conjuncts(condition_of(expected.get(name))) for name in ("key", "filter", "local")
    }
    gets = expected.get("gets")
    if gets is not None:
        conditions = {name: conjuncts(condition_of(gets.get(name))) for name in _CONDITIONS}
        parts["gets"] = {"fetched": [], "selective": False, **gets, **conditions}
    defaults = {
        "operation": "query",
        "descending": False,
        "fetched": [],
        "cut": [],
        "select": None,
        "gets": None,
    }
    return {**defaults, **expected, **parts, "kept": sorted(expected.get("kept", ()))}


def test_the_cases_have_distinct_names() -> None:
    """A failing case is found by its name."""
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) >= 60


@pytest.mark.parametrize("case", [c for c in CASES if "plan" in c], ids=lambda case: case["name"])
def test_queries_are_planned(case: dict[str, Any]) -> None:
    """Cases of `planner.json` that can be served have their expected plans."""
    plan = plan_query(query_of(case), table_named(case["query"]["table"]))
    assert summary_of(plan, case["plan"]) == expected_of(case["plan"])


@pytest.mark.parametrize("case", [c for c in CASES if "error" in c], ids=lambda case: case["name"])
def test_queries_are_refused(case: dict[str, Any]) -> None:
    """Cases of `planner.json` that cannot be served are refused with their reasons."""
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


def test_a_refusal_names_its_subject() -> None:
    """It names the table and at most eight of its paths, or the requested index."""
    with pytest.raises(PreconditionFailed) as caught:
        plan_for("users", "name = 'x'")
    assert caught.value.subject == "users"
    assert caught.value.message == (
        "this needs a scan, and scans of users are not allowed; fix a partition key with = or IN: "
        "user_id, team (@table: the condition does not fix user_id with = or IN; "
        "by_team: the condition does not fix team with = or IN)"
    )
    with pytest.raises(PreconditionFailed) as caught:
        plan_for("users", "name = 'x'", index="by_team")
    assert (caught.value.reason, caught.value.subject) == ("INDEX_NOT_USABLE", "query.index")
    indexes = tuple(Index(f"by_{key}", False, (key,), ()) for key in "abcdefghij")
    many = make_table(
        Schema("many", "id", None, indexes, dict.fromkeys(["id", *"abcdefghij"], "S"))
    )
    with pytest.raises(PreconditionFailed) as caught:
        plan_query(Query("many"), many)
    assert caught.value.message.count("the condition does not fix") == 8


def test_an_empty_key_is_an_error_for_every_type() -> None:
    """No item has an empty key; as a bound of a range it is allowed."""
    table = make_table(Schema("blobs", "id", "at", (), {"id": "B", "at": "B"}))
    empty, other = Value("B", b""), Value("B", b"x")
    with pytest.raises(InvalidRequest, match="id is a key and never empty"):
        plan_query(Query("blobs", parse_expression("id = :p", {"p": empty})), table)
    typed = "attribute_type(id, 'S') AND id = 'x'"
    with pytest.raises(InvalidRequest, match="column 34: id is a binary key, not a string"):
        plan_query(Query("blobs", parse_expression(typed, {})), table)
    ranged = parse_expression("id = :q AND at > :p", {"p": empty, "q": other})
    assert plan_query(Query("blobs", ranged), table).operation is Operation.QUERY


def test_all_violations_are_reported_at_once() -> None:
    """The error lists each hidden attribute in the expression and in the projection."""
    projection = (parse_path("user_id"), parse_path("title"), parse_path("secret"))
    with pytest.raises(InvalidRequest) as caught:
        plan_for("events_narrow", "user_id = 'u' AND doc.x = 1", projection=projection)
    assert [violation.field for violation in caught.value.violations] == [
        "query.expression", "query.expression", "query.projection[0]", "query.projection[2]",
    ]  # fmt: skip


def test_the_request_is_aliased_throughout() -> None:
    """No expression has an attribute's name or a value, and no alias is unused."""
    plan = plan_for(
        "events",
        "status = 'open' AND priority BETWEEN 1 AND 3 AND title <> '3'",
        projection=(parse_path("title"),),
    )
    (request,) = plan.requests
    assert request == {
        "TableName": "events",
        "IndexName": "by_status",
        "ReturnConsumedCapacity": "TOTAL",
        "ScanIndexForward": True,
        "KeyConditionExpression": "#0 = :p0 AND #1 BETWEEN :0 AND :1",
        "FilterExpression": "#2 <> :2",
        "ProjectionExpression": "#2, #0, #1, #3, #4",
        "ExpressionAttributeNames": {
            "#0": "status", "#1": "priority", "#2": "title", "#3": "tenant_id", "#4": "event_id",
        },
        "ExpressionAttributeValues": {
            ":p0": {"S": "open"}, ":0": {"N": "1"}, ":1": {"N": "3"}, ":2": {"S": "3"},
        },
    }  # fmt: skip


def test_a_scan_has_no_needless_parameters() -> None:
    """DynamoDB would refuse empty maps and a direction."""
    assert plan_for("events_vouched").requests == (
        {"TableName": "events_vouched", "ReturnConsumedCapacity": "TOTAL"},
    )


def test_consistent_reads_have_their_parameter() -> None:
    """Eventually consistent reads do not have it."""
    for text in ("tenant_id = 't'", "tenant_id = 't' AND event_id = 'e'"):
        (consistent,) = plan_for("events", text, consistent=True).requests
        (eventual,) = plan_for("events", text).requests
        assert consistent == {**eventual, "ConsistentRead": True}


@pytest.mark.parametrize(
    ("text", "pushed"),
    [
        (f"x IN ({', '.join(map(str, range(100)))})", True),
        (f"x IN ({', '.join(map(str, range(350)))})", True),
        (f"x IN ({', '.join(map(str, range(1200)))})", False),
        (" AND ".join(["NOT x.y IN (1, 2)"] * 100), None),
        (" OR ".join(["x > 1"] * 140), True),
        (" OR ".join(["x > 1"] * 141), False),
        (" OR ".join(["NOT x > 1", *["x > 1"] * 139]), True),
        (" OR ".join(["NOT x > 1", "NOT x > 1", *["x > 1"] * 138]), False),
        (" OR ".join(["NOT (x > 1 OR x = 0)", *["x > 1"] * 139]), False),
        (" OR ".join(f"x.y[{n}] IN ({n})" for n in range(140)), True),
        (" OR ".join(f"x.y[{n}] IN ({n})" for n in range(141)), False),
        ("x = 1 AND " * 160 + "x = 1", None),
        (" OR ".join(f"x[{n}].yyyy[{n}] < {n}" for n in range(140)), True),
        (" OR ".join(f"a.b.c.d.e.f.g.h.i.j.k.l[{n}] < 0" for n in range(120)), False),
    ],
)
def test_the_service_checks_what_is_too_long_for_dynamodb(text: str, pushed: bool | None) -> None:
    """Limits are 280 operators and 4 KiB; None means that each checks a part."""
    plan = plan_for("events", f"tenant_id = 't' AND ({text})")
    assert (plan.filter is not None) is (pushed is not False)
    assert (plan.local_filter is not None) is (pushed is not True)
    assert len(plan.requests[0].get("FilterExpression", "")) <= 4096


def test_the_length_of_a_filter_is_limited_for_several_partitions_too() -> None:
    """A filter for two partitions takes as many conjuncts as one for a single partition."""
    terms = " AND ".join(f"contains(doc.a.b.c.d.e, 'word{n}')" for n in range(130))
    single = plan_for("events", f"tenant_id = 't' AND {terms}")
    several = plan_for("events", f"tenant_id IN ('t', 'u') AND {terms}")
    assert several.filter == single.filter
    assert len(several.requests[0]["FilterExpression"]) <= 4096


def test_cache_keys_differ_for_different_reads_only() -> None:
    """Spelling, caller and number of items do not matter."""
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
        plan_for("events", "tenant_id = 't' AND n > 1", consistent=True),
        plan_for("events", "tenant_id = 't' AND n > 1", projection=(parse_path("n"),)),
        plan_for("events", "tenant_id = 't' AND n > 1 AND occurred_at > 'a'"),
        plan_for("events_sparse", "tenant_id = 't' AND n > 1"),
    ]
    assert {plan.cache_key for plan in same} == {base}
    assert len({base, *(plan.cache_key for plan in other)}) == len(other) + 1


def test_tables_of_other_locations_and_roles_have_their_own_cache_keys() -> None:
    """Equal names elsewhere mean another table, as does a table that was created again."""
    schema = Schema("one-table", "id", None, (), {"id": "S"})
    query = Query("one-table", parse_expression("id = 'x'", {}))
    role = "arn:aws:iam::123456789012:role/reader"
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/one-table"
    here = TableIdentity("one-table", "http://localhost:8000", "eu-west-1", arn, "1")
    others = (
        replace(here, endpoint="http://localhost:8001"),
        replace(here, region="eu-north-1"),
        replace(here, arn=arn.replace("123456789012", "210987654321")),
        replace(here, incarnation="2"),
    )

    def key(identity: TableIdentity, **options: str) -> bytes:
        table = make_table(schema, **options)
        table = replace(table, schema=replace(table.schema, identity=identity))
        return plan_query(query, table).cache_key

    assert len({key(here), key(here, role_arn=role), *map(key, others)}) == 6
    assert key(here, region="eu-west-1") == key(here)  # how the region was set makes no difference
