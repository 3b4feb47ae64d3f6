"""The attributes requested of each item, and their conversion, for tables with a logical view."""

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
from tests.unit.query.planning.plans import condition_of
from tests.unit.query.planning.row_rules import rule_of
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
# Two keys contain the user, and an index may have one of them.
_KEYS: Final = {"PK": "USER#{user}", "SK": "{at}#{id}", "GS_PK": "U#{user}"}


def plan(text: str, *projection: str, on: Table | None = None, **fields: Any) -> Plan:
    """Return the plan of a query."""
    paths = tuple(map(parse_path, projection))
    query = Query("activity", condition_of(text), projection=paths, **fields)
    options = {"keys": _KEYS, "expose_keys": False, "required": ["day"]}
    return plan_query(query, on or make_table(_SCHEMA, **options))


def fetched(plan: Plan) -> set[str]:
    """Return the attributes that a plan's request names in its projection."""
    (request,) = plan.requests
    names = request["ExpressionAttributeNames"]
    return {names[alias] for alias in request["ProjectionExpression"].split(", ")}


@pytest.mark.parametrize("projection", [(), ("note",), ("user", "note"), ("note.x", "user")])
def test_items_are_shown_through_the_view_of_their_table(projection: tuple[str, ...]) -> None:
    """This holds for every projection; plain tables have no view."""
    found = plan("user = 'u'", *projection)
    assert found.projection.view is not None
    assert found.projection.view.hidden == {"PK", "SK", "GS_PK"}
    stored = plan("PK = 'USER#u'", *projection, on=make_table(_SCHEMA))
    assert stored.projection.view is None


def test_times_alone_are_shown_through_the_view_too() -> None:
    """Timestamps need no further attributes in the request."""
    on = make_table(_SCHEMA, timestamps={"day": "iso8601"})
    assert plan("PK = 'x'", "PK", "SK", on=on).projection.view is on.view


@pytest.mark.parametrize("text", ["day = 'd'", "day = 'd' AND user = 'u'"])
def test_a_global_index_is_asked_only_for_its_attributes(text: str) -> None:
    """DynamoDB refuses to project others; one of the keys with a field is enough."""
    found = plan(text, "user", index="by_day")
    assert fetched(found) == {"day", "SK", "PK"}
    assert found.hydration is None
    assert fetched(plan("day = 'd' AND user > 'u'", index="by_day", counts=True)) == {"PK"}


def test_a_local_index_is_asked_for_attributes_of_the_table() -> None:
    """DynamoDB fetches them from the table; for a global index the service does."""
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
    *projection: str, rule: RowRule | None = None, consistent: bool = False, **options: Any
) -> tuple[list[str], list[str] | None, bool]:
    """Return the attributes of a batch's request, those kept, and whether they stay as stored."""
    table = make_table(_SCHEMA, **options)
    paths = tuple(map(parse_path, projection))
    request, result_projection = build_batch(paths, table, rule, consistent=consistent)
    names = request.get("ExpressionAttributeNames", {})
    requested = [
        names[alias] for alias in request.get("ProjectionExpression", "").split(", ") if alias
    ]
    kept = None if result_projection.attributes is None else sorted(result_projection.attributes)
    assert set(request) <= {"ExpressionAttributeNames", "ProjectionExpression"}
    return requested, kept, result_projection.view is None


def test_a_batch_requests_the_projection_and_the_keys() -> None:
    """Keys identify the items; a request for all attributes names none."""
    assert batch() == ([], None, True)
    assert batch("note", "SK") == (["note", "SK", "PK"], ["SK", "note"], True)
    assert batch(attributes=["note", "SK"]) == (["note", "SK", "PK"], ["SK", "note"], True)
    assert batch("user", keys=_KEYS) == (["PK", "SK", "GS_PK", "user"], ["user"], False)


def test_a_batch_also_requests_attributes_to_check() -> None:
    """These are a rule's attributes, and the time to live, which bounds how long it is cached."""
    rule = rule_of("tenant = 'acme' AND SK > 'a'")
    assert batch("note", rule=rule) == (["note", "PK", "SK", "tenant"], ["note"], True)
    expiring: dict[str, Any] = {"time_to_live": "expires", "hide_expired": True}
    assert batch("note", **expiring) == (["note", "PK", "SK", "expires"], ["note"], False)
    assert batch("note", time_to_live="expires")[0] == ["note", "PK", "SK", "expires"]
    never_cached: list[dict[str, Any]] = [{"consistent": True}, {"cache_ttl": 0}]
    for options in never_cached:
        assert batch("note", time_to_live="expires", **options)[0] == ["note", "PK", "SK"]
        assert "expires" in batch("note", **expiring, **options)[0]


def test_counts_under_different_views_are_cached_apart() -> None:
    """The same request to DynamoDB may count other items under another configuration."""
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
