"""Plans of several partitions and of one item: their number, and the requests to DynamoDB."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.expression.ast import (
    Comparison,
    Literal,
    Path,
    Query,
    conjuncts,
)
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import from_wire
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule_paths import MAX_BRANCHES
from tests.support.datasets import Schema
from tests.unit.query.planning.plans import CASES, plan_for, query_of, table_named
from tests.unit.query.tables import make_table

NUMBERED = Schema("numbered", "n", "seq", (), {"n": "N", "seq": "N"})


def one_of(attribute: str, values: Iterable[object]) -> str:
    """Return an IN."""
    return f"{attribute} IN ({', '.join(map(str, values))})"


def quoted(count: int) -> list[str]:
    """Return that many strings, as literals."""
    return [f"'v{number}'" for number in range(count)]


def plan_numbered(text: str, **options: Any) -> Plan:
    """Return a plan of a table whose partition key is a number."""
    return plan_query(
        Query("numbered", parse_expression(text, {})), make_table(NUMBERED, **options)
    )


@pytest.mark.parametrize("several", ["IN", "OR"])
def test_fifty_partitions_are_read_and_no_more(several: str) -> None:
    """The error names the limit."""

    def text(count: int) -> str:
        if several == "IN":
            return one_of("tenant_id", quoted(count))
        return " OR ".join(f"tenant_id = {value}" for value in quoted(count))

    assert len(plan_for("events", text(MAX_BRANCHES)).requests) == MAX_BRANCHES == 50
    with pytest.raises(InvalidRequest) as caught:
        plan_for("events", text(51))
    (violation,) = caught.value.violations
    assert violation.field == "query.expression"
    assert violation.description == "names 51 partitions; at most 50 are read at once"


def test_combinations_are_counted() -> None:
    """The number of partitions counts, not the number of values in the text."""
    seven = f"{one_of('country', quoted(7))} AND {one_of('city', quoted(7))}"
    assert len(plan_for("events_sparse", seven).requests) == 49
    with pytest.raises(InvalidRequest, match="names 56 partitions; at most 50"):
        plan_for("events_sparse", f"{one_of('country', quoted(8))} AND {one_of('city', quoted(7))}")


def test_the_limit_holds_on_a_named_index_and_where_scans_are_allowed() -> None:
    """A scan would read everything for the sake of some partitions."""
    text = one_of("user_id", quoted(51))
    with pytest.raises(InvalidRequest, match="names 51 partitions; at most 50"):
        plan_for("events", text, index="by_user")
    with pytest.raises(InvalidRequest, match="names 51 partitions; at most 50"):
        plan_numbered(one_of("n", range(51)), allow_scan=True)


def test_another_path_may_serve_too_many_partitions_of_one() -> None:
    """The path that was not chosen has the reason."""
    plan = plan_for("events_sparse", f"{one_of('tenant_id', quoted(51))} AND user_id = 'u1'")
    assert plan.path.label == "by_user"
    reasons = {each.path.label: each.reason for each in plan.rejected}
    assert reasons["@table"] == "the condition names 51 partitions, more than 50"


def test_fifty_partitions_that_no_path_may_read_are_no_reason_against_a_scan() -> None:
    """Global indexes have no consistent reads; 51 partitions are refused for their number."""
    text = one_of("user_id", quoted(50))
    assert plan_for("events_vouched", text, consistent=True).operation is Operation.SCAN
    refused = "scans of events are not allowed; accept eventual consistency to use by_user; or fix"
    with pytest.raises(PreconditionFailed, match=refused) as caught:
        plan_for("events", text, consistent=True)
    # The condition fixes user_id already, so fixing it is no way out.
    assert "user_id" not in str(caught.value)
    with pytest.raises(InvalidRequest, match="names 51 partitions; at most 50 are read at once"):
        plan_for("events_vouched", one_of("user_id", quoted(51)), consistent=True)


def test_equal_values_are_one_partition() -> None:
    """They count once in any spelling: 100 spellings of 50 numbers are accepted."""
    spelled = [text for number in range(50) for text in (f"{number}.0", f"{number}E0")]
    plan = plan_numbered(one_of("n", spelled))
    assert [request["ExpressionAttributeValues"][":p0"] for request in plan.requests] == [
        {"N": str(number)} for number in range(50)
    ]
    assert plan_numbered("n = 1 OR n = 1.0 OR n IN (10E-1)").cache_key == (
        plan_numbered("n = 1").cache_key
    )


def test_equal_reads_have_one_cache_key_in_any_spelling() -> None:
    """The order of the partitions matters, because it decides ties."""
    base = plan_for("events", "tenant_id IN ('a', 'b')").cache_key
    assert plan_for("events", "tenant_id = 'a' OR 'b' = tenant_id").cache_key == base
    assert plan_for("events", "tenant_id IN ('a', 'b', 'a')").cache_key == base
    assert plan_for("events", "tenant_id IN ('b', 'a')").cache_key != base
    assert plan_for("events", "tenant_id IN ('a', 'c')").cache_key != base
    assert plan_for("events", "tenant_id IN ('a')").cache_key != base
    get = plan_for("events", "tenant_id = 'a' AND event_id = 'e'").cache_key
    assert get != plan_for("events", "tenant_id = 'a' AND event_id = 'f'").cache_key
    assert (
        get != plan_for("events", "tenant_id = 'a' AND event_id = 'e'", consistent=True).cache_key
    )


def test_a_get_has_a_key_and_no_conditions() -> None:
    """Its names are for the projection alone."""
    plan = plan_for(
        "events",
        "tenant_id = 't1' AND event_id = 'e1' AND title = 'x'",
        projection=(parse_path("doc.name"),),
    )
    assert plan.operation is Operation.GET
    assert plan.requests == (
        {
            "TableName": "events",
            "ReturnConsumedCapacity": "TOTAL",
            "Key": {"tenant_id": {"S": "t1"}, "event_id": {"S": "e1"}},
            "ProjectionExpression": "#0.#1, #2, #3, #4",
            "ExpressionAttributeNames": {
                "#0": "doc", "#1": "name", "#2": "tenant_id", "#3": "event_id", "#4": "title",
            },
        },
    )  # fmt: skip


def test_partitions_differ_in_their_values_alone() -> None:
    """A value of the filter may also be a partition's value."""
    plan = plan_for("events", "tenant_id IN ('x', 'y') AND event_id > 'x' AND kind IN ('x', 'y')")
    first, second = plan.requests
    assert first["KeyConditionExpression"] == "#0 = :p0 AND #1 > :0"
    assert first["FilterExpression"] == "#2 IN (:0, :1)"
    assert first["ExpressionAttributeValues"] == {
        ":p0": {"S": "x"}, ":0": {"S": "x"}, ":1": {"S": "y"},
    }  # fmt: skip
    values = {**first["ExpressionAttributeValues"], ":p0": {"S": "y"}}
    assert second == {**first, "ExpressionAttributeValues": values}


@pytest.mark.parametrize("case", [c for c in CASES if "plan" in c], ids=lambda case: case["name"])
def test_requests_express_the_plan(case: dict[str, Any]) -> None:
    """Each request parses back to its key condition and the filter. No alias is unused."""
    plan = plan_query(query_of(case), table_named(case["query"]["table"]))
    assert len(plan.requests) == len(plan.key.branches)
    for values, request in zip(plan.key.branches, plan.requests, strict=True):
        fixed = [
            Comparison("=", Path((attribute.name,)), Literal(value))
            for attribute, value in zip(plan.path.key.partition, values, strict=False)
        ]
        asked = (*fixed, *plan.key.sort_conditions)
        if plan.operation is Operation.GET:
            key = {name: from_wire(value) for name, value in request["Key"].items()}
            assert key == {
                term.left.attribute: term.right.value  # type: ignore[union-attr]
                for term in asked
            }
            continue
        assert _parse_back(request, "KeyConditionExpression") == asked
        assert _parse_back(request, "FilterExpression") == conjuncts(plan.filter)
        assert _used_aliases(request) == {
            *request.get("ExpressionAttributeNames", ()),
            *request.get("ExpressionAttributeValues", ()),
        }


def _parse_back(request: Mapping[str, Any], expression: str) -> Any:
    """Return the conjuncts of one of a request's expressions, with its aliases replaced."""
    text = request.get(expression)
    if text is None:
        return ()
    wire = request.get("ExpressionAttributeValues", {})
    values = {alias[1:]: from_wire(wire[alias]) for alias in re.findall(r":\w+", text)}
    names = request["ExpressionAttributeNames"]
    plain = re.sub(r"#\d+", lambda match: str(Path((names[match[0]],))), text)
    return conjuncts(parse_expression(plain, values))


def _used_aliases(request: Mapping[str, Any]) -> set[str]:
    """Return the aliases that a request's expressions use."""
    texts = " ".join(value for name, value in request.items() if name.endswith("Expression"))
    return set(re.findall(r"[:#]\w+", texts))
