"""Plans under row rules as their callers see them: without the rules' conditions."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_path
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.redaction import caller_view
from dynamodb_processor_server.rpc.encode.explanation import explain
from tests.support.datasets import Index, Schema
from tests.unit.query.planning.plans import condition_of
from tests.unit.query.planning.row_rules import TENANT, plan, rule_of, table
from tests.unit.query.tables import make_table


def shown(text: str, found: Plan) -> Plan:
    """Return a plan as its caller may see it."""
    return caller_view(Query("events", condition_of(text)), found)


@pytest.mark.parametrize(
    ("text", "key", "rest", "branches"),
    [
        ("", "", "", 1),
        ("at > 5", "at > 5", "", 1),
        ("tenant_id IN ('acme', 'b')", "tenant_id IN ('acme', 'b')", "", 2),
        ("tenant_id = 'other' AND at > 5", "tenant_id = 'other' AND at > 5", "", 1),
        ("at > 5 AND note = 'x'", "at > 5", "note = 'x'", 1),
    ],
)
def test_a_caller_sees_its_own_conditions(text: str, key: str, rest: str, branches: int) -> None:
    """The path is the real one; conditions and numbers are the caller's."""
    found = plan(text, f"{TENANT} AND at <= 100")
    view = shown(text, found)
    assert view.path.index == "by_tenant"
    assert len(view.requests) == branches
    assert view.filter == condition_of(rest)
    assert view.local_filter is None
    assert view.operation is Operation.QUERY
    assert explain(Query("events", condition_of(text)), found).key_condition == key


@pytest.mark.parametrize(
    ("text", "rule", "operation"),
    [
        ("user_id = 'u' AND event_id = 'e'", "tenant_id = 'acme'", Operation.GET),
        ("event_id = 'e'", "user_id = 'u'", Operation.QUERY),
        ("user_id = 'u'", "event_id = 'e'", Operation.QUERY),
        ("event_id = 'e' AND event_id = 'f'", "user_id = 'u'", Operation.NOTHING),
    ],
)
def test_a_caller_sees_the_operation_of_its_own_conditions(
    text: str, rule: str, operation: Operation
) -> None:
    """It is a get only if the caller, and not the rule, names the item."""
    assert shown(text, plan(text, rule, as_filter=True)).operation is operation


def test_a_caller_sees_that_everything_is_read() -> None:
    """A scan is shown as a scan, with its path and the caller's filter."""
    found = plan("note = 'x'", "owner = 'me'", as_filter=True, on=table(allow_scan=True))
    view = shown("note = 'x'", found)
    assert (view.operation, view.filter) == (Operation.SCAN, condition_of("note = 'x'"))
    assert view.path.index is None


def test_a_caller_sees_further_costs_of_reading() -> None:
    """It sees that items are got from the table for the rule, and that the cost is hidden."""
    at = (parse_path("at"),)
    asked = Query("events", condition_of("level = 3"), index="by_level", projection=at)
    got = explain(asked, plan("level = 3", as_filter=True, index="by_level", projection=at))
    assert [warning.partition(":")[0] for warning in got.warnings] == ["hydration", "access rules"]
    asked = Query("events", condition_of("at > 5"))
    held = explain(asked, plan("at > 5"))
    assert list(held.warnings) == []


def test_pages_are_shared_only_under_equal_rules() -> None:
    """Pages end differently if items are hidden, even if the requests are the same."""
    own = plan("user_id = 'u' AND tenant_id = 'acme'", None)
    ruled = plan("user_id = 'u'", as_filter=True)
    assert own.requests == ruled.requests
    keys = {own.cache_key, ruled.cache_key, plan("user_id = 'u'", "tenant_id = 'b'",
            as_filter=True).cache_key}  # fmt: skip
    assert len(keys) == 3
    assert plan("user_id = 'u'", as_filter=True).cache_key == ruled.cache_key
    counted = plan("user_id = 'u'", as_filter=True, counts=True)
    whole = plan("user_id = 'u' AND tenant_id = 'acme'", None, counts=True)
    assert (counted.requests, counted.local_filter) == (whole.requests, whole.local_filter)
    assert counted.cache_key != whole.cache_key


def test_errors_of_the_caller_are_reported_as_usual() -> None:
    """Rules change no other refusal."""
    with pytest.raises(InvalidRequest, match="event_id is a string key, not a number"):
        plan("event_id = 1")


# Over logical attributes

_SINGLE = Schema(
    "single",
    "PK",
    "SK",
    (Index("gs1", False, ("GS1_PK",), ("GS1_SK",)),),
    {"PK": "S", "SK": "S", "GS1_PK": "S", "GS1_SK": "S"},
)
_COMPOSED = {
    "PK": "USER#{user_id}",
    "SK": "{at}#{event_id}",
    "GS1_PK": "TENANT#{tenant_id}",
    "GS1_SK": "{at}",
}


@pytest.mark.parametrize(
    ("text", "rule", "partition"),
    [("", "user_id = 'u'", "USER#u"), ("at > '2026'", "tenant_id = 'acme'", "TENANT#acme")],
)
def test_a_rule_on_fields_becomes_a_condition_on_their_keys(
    text: str, rule: str, partition: str
) -> None:
    """The key condition covers the rule in a single-table design too, and nobody sees the key."""
    on = make_table(_SINGLE, keys=_COMPOSED, expose_keys=False, sparse="allow")
    found = rule_of(rule)
    asked = Query("single", condition_of(text))
    got = plan_query(asked, on.restricted_to(None, found.fixed), found.on_stored_items(on.view))
    (request,) = got.requests
    assert request["ExpressionAttributeValues"][":p0"] == {"S": partition}
    assert not got.hides_cost
    explanation = str(explain(asked, got))
    assert partition not in explanation
    assert "tenant" not in explanation
