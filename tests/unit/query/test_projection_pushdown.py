"""What is asked for of each item, and how it is shown, where items are not shown as stored."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_path
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.query.planning.row_rule import RowRule
from tests.support.datasets import Index, Schema
from tests.unit.query.planning import condition_of
from tests.unit.query.ruling import rule_of
from tests.unit.query.tables import make_table

_SCHEMA: Final = Schema(
    "activity",
    "PK",
    "SK",
    (
        Index("by_day", False, ("day",), ("SK",), "KEYS_ONLY"),
        Index("by_user", False, ("GS_PK",), ("SK",), "KEYS_ONLY"),
        Index("local", True, ("PK",), ("day",), "KEYS_ONLY"),
    ),
    {"PK": "S", "SK": "S", "day": "S", "GS_PK": "S"},
)
# A user stands in two keys, of which an index may hold one.
_KEYS: Final = {"PK": "USER#{user}", "SK": "{at}#{id}", "GS_PK": "U#{user}"}


def plan(text: str, *projection: str, on: Table | None = None, **fields: Any) -> Plan:
    """Return the plan of a query."""
    paths = tuple(map(parse_path, projection))
    query = Query("activity", condition_of(text), projection=paths, **fields)
    declared = {"keys": _KEYS, "expose_keys": False, "required": ["day"]}
    return plan_query(query, on or make_table(_SCHEMA, **declared))


def fetched(plan: Plan) -> set[str]:
    """Return the attributes that a plan's request names in its projection."""
    (request,) = plan.requests
    names = request["ExpressionAttributeNames"]
    return {names[alias] for alias in request["ProjectionExpression"].split(", ")}


@pytest.mark.parametrize("projection", [(), ("note",), ("user", "note"), ("note.x", "user")])
def test_items_are_shown_through_the_view_of_their_table(projection: tuple[str, ...]) -> None:
    """Whatever is asked for; as they are where nothing is declared."""
    found = plan("user = 'u'", *projection)
    assert found.shape.view is not None
    assert found.shape.view.hidden == {"PK", "SK", "GS_PK"}
    stored = plan("PK = 'USER#u'", *projection, on=make_table(_SCHEMA))
    assert stored.shape.view is None


def test_times_alone_are_shown_through_the_view_too() -> None:
    """Where nothing needs to be asked for besides."""
    on = make_table(_SCHEMA, timestamps={"day": "iso8601"})
    assert plan("PK = 'x'", "PK", "SK", on=on).shape.view is on.view


@pytest.mark.parametrize("text", ["day = 'd'", "day = 'd' AND user = 'u'"])
def test_a_global_index_is_asked_only_for_what_it_holds(text: str) -> None:
    """DynamoDB refuses to project more; one of the keys that a field stands in is enough."""
    found = plan(text, "user", index="by_day")
    assert fetched(found) == {"day", "SK", "PK"}
    assert found.hydration is None
    assert fetched(plan("day = 'd' AND user > 'u'", index="by_day", counts=True)) == {"PK"}


def test_a_local_index_is_asked_for_what_the_table_holds() -> None:
    """DynamoDB gets it there; what an index lacks altogether the service gets from the table."""
    assert fetched(plan("user = 'u' AND day = 'd'", "user", index="local")) == {
        "PK", "SK", "day", "GS_PK", "user",
    }  # fmt: skip
    found = plan("user = 'u' AND note = 'x'", "user", index="by_user")
    assert fetched(found) == {"GS_PK", "SK", "PK"}
    assert found.hydration is not None
    assert set(found.hydration.request["ExpressionAttributeNames"].values()) == {
        "GS_PK", "SK", "PK", "note", "user",
    }  # fmt: skip


def batch(
    *projection: str, rule: RowRule | None = None, **declared: Any
) -> tuple[list[str], list[str] | None, bool]:
    """Return the attributes that a batch asks for, those that it keeps, and whether as stored."""
    table = make_table(_SCHEMA, **declared)
    request, shape = build_batch(tuple(map(parse_path, projection)), table, rule)
    names = request.get("ExpressionAttributeNames", {})
    asked = [names[alias] for alias in request.get("ProjectionExpression", "").split(", ") if alias]
    kept = None if shape.attributes is None else sorted(shape.attributes)
    assert set(request) <= {"ExpressionAttributeNames", "ProjectionExpression"}
    return asked, kept, shape.view is None


def test_a_batch_asks_for_what_is_wanted_and_for_keys() -> None:
    """Keys tell whose item it is; nothing is named where everything is wanted."""
    assert batch() == ([], None, True)
    assert batch("note", "SK") == (["note", "SK", "PK"], ["SK", "note"], True)
    assert batch(attributes=["note", "SK"]) == (["note", "SK", "PK"], ["SK", "note"], True)
    assert batch("user", keys=_KEYS) == (["PK", "SK", "GS_PK", "user"], ["user"], False)


def test_a_batch_asks_for_what_is_checked_besides() -> None:
    """What a rule is about, and the time to live where what has expired is hidden."""
    rule = rule_of("tenant = 'acme' AND SK > 'a'")
    assert batch("note", rule=rule) == (["note", "PK", "SK", "tenant"], ["note"], True)
    expiring: dict[str, Any] = {"time_to_live": "expires", "hide_expired": True}
    assert batch("note", **expiring) == (["note", "PK", "SK", "expires"], ["note"], False)
    assert batch("note", time_to_live="expires")[0] == ["note", "PK", "SK"]


def test_what_is_seen_otherwise_is_counted_apart() -> None:
    """Two declarations of one table may count other items for the same request to DynamoDB."""
    invoices, orders = (
        make_table(_SCHEMA, keys=_KEYS | {"SK": template}, required=["day"])
        for template in ("INV#{number}", "ORD#{number}")
    )
    text = "user = 'u' AND attribute_exists(number)"
    first, second = (plan(text, on=table, counts=True) for table in (invoices, orders))
    assert first.requests == second.requests
    assert first.local_filter == second.local_filter
    assert first.cache_key != second.cache_key
    assert first.cache_key == plan(text, on=invoices, counts=True).cache_key
