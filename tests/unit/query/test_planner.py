"""The planner: a table of cases (`tests/cases/planner.json`), and what holds for every plan."""

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
from tests.unit.query.planning import CASES, condition_of, plan_for, query_of, table_named
from tests.unit.query.tables import make_table

_CONDITIONS: Final = ("shown", "checked")  # of what the index shows, of the item itself


def key_of(plan: Plan) -> tuple[Condition, ...]:
    """Return a plan's key condition as one says it: an attribute is one value, or one of several.

    A plan that reads nothing has none.
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
    return (*fixed, *plan.key.terms)


def summary_of(plan: Plan, expected: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan says about the things that a case speaks of."""
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
        "kept": sorted(plan.shape.attributes or ()),
        "cut": [str(path) for path in plan.shape.paths],
        "select": request.get("Select"),
        "gets": None if plan.hydration is None else gets_of(plan.hydration),
    }
    if "rejected" in expected:
        summary["rejected"] = {each.path.label: each.reason for each in plan.rejected}
    return summary


def fetched_by(request: Mapping[str, Any]) -> list[str]:
    """Return what a request asks for, nothing for everything."""
    names = request.get("ExpressionAttributeNames", {})
    text = request.get("ProjectionExpression", "")
    return [
        re.sub(r"#\d+", lambda match: names[match[0]], path) for path in text.split(", ") if path
    ]


def gets_of(hydration: Hydration) -> dict[str, Any]:
    """Return what a plan says about the items that it gets."""
    return {
        "fetched": fetched_by(hydration.request),
        "shown": conjuncts(hydration.shown),
        "checked": conjuncts(hydration.condition),
        "selective": hydration.selective,
    }


def expected_of(expected: dict[str, Any]) -> dict[str, Any]:
    """Return what a case expects of everything that a summary says."""
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


def test_the_cases_are_named_apart() -> None:
    """A name is what a failing case is found by."""
    names = [case["name"] for case in CASES]
    assert len(names) == len(set(names)) >= 60


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


def test_a_refusal_says_what_it_is_about() -> None:
    """The table and its paths, of which no more than eight are named; or the index asked for."""
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


def test_an_empty_key_is_a_mistake_whatever_its_type() -> None:
    """No item has one; in an order it is a bound like another."""
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


def test_a_scan_asks_for_nothing_that_it_does_not_need() -> None:
    """Empty maps and a direction would be errors."""
    assert plan_for("events_vouched").requests == (
        {"TableName": "events_vouched", "ReturnConsumedCapacity": "TOTAL"},
    )


def test_strong_reads_say_so() -> None:
    """And eventual ones do not."""
    for text in ("tenant_id = 't'", "tenant_id = 't' AND event_id = 'e'"):
        (strong,) = plan_for("events", text, consistent=True).requests
        (eventual,) = plan_for("events", text).requests
        assert strong == {**eventual, "ConsistentRead": True}


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
def test_what_is_too_long_for_dynamodb_is_checked_by_the_service(
    text: str, pushed: bool | None
) -> None:
    """More than 280 operators or 4 KiB; None: a part here and a part there."""
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
        plan_for("events", "tenant_id = 't' AND n > 1", consistent=True),
        plan_for("events", "tenant_id = 't' AND n > 1", projection=(parse_path("n"),)),
        plan_for("events", "tenant_id = 't' AND n > 1 AND occurred_at > 'a'"),
        plan_for("events_sparse", "tenant_id = 't' AND n > 1"),
    ]
    assert {plan.cache_key for plan in same} == {base}
    assert len({base, *(plan.cache_key for plan in other)}) == len(other) + 1


def test_tables_of_other_places_and_roles_have_cache_keys_of_their_own() -> None:
    """The same table name elsewhere is another table, and so is one that was created anew."""
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

    def key(identity: TableIdentity, **declared: str) -> bytes:
        table = make_table(schema, **declared)
        table = replace(table, schema=replace(table.schema, identity=identity))
        return plan_query(query, table).cache_key

    assert len({key(here), key(here, role_arn=role), *map(key, others)}) == 6
    assert key(here, region="eu-west-1") == key(here)  # how it was declared makes no difference
