"""Row rules in planning: what is read, what is refused, and that a caller is told neither."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.caller_view import caller_view
from dynamodb_processor_server.query.model import Query
from dynamodb_processor_server.query.parser import parse_expression, parse_path
from dynamodb_processor_server.query.plan import Operation, Plan
from dynamodb_processor_server.query.planner import plan_query
from dynamodb_processor_server.query.printing import Printer
from dynamodb_processor_server.query.rules import RowRule
from dynamodb_processor_server.rpc.explanations import explain
from tests.support.datasets import Index, Schema
from tests.unit.query.planning import condition_of
from tests.unit.query.tables import make_table

_SCHEMA = Schema(
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
_TENANT = "tenant_id = 'acme'"
_ACME = {"S": "acme"}


def table(**declared: object) -> Table:
    """Return the table of events; all of its items have all keys."""
    return make_table(_SCHEMA, **{"required": ["at", "kind", "tenant_id", "level"], **declared})


def plan(
    text: str = "", rule: str | None = _TENANT, *, as_filter: bool = False, **fields: object
) -> Plan:
    """Return the plan of a query under a rule."""
    on = fields.pop("on", None) or table()
    query = Query("events", condition_of(text), **fields)  # type: ignore[arg-type]
    assert isinstance(on, Table)
    return plan_query(query, on, _rule(rule, as_filter))


def _rule(text: str | None, as_filter: bool = False) -> RowRule | None:
    return None if text is None else RowRule(parse_expression(text, {}), as_filter)


def refusal(text: str, rule: str = _TENANT, **fields: object) -> PreconditionFailed:
    """Return how a query under a rule is refused."""
    with pytest.raises(PreconditionFailed) as caught:
        plan(text, rule, **fields)  # type: ignore[arg-type]
    return caught.value


# The rule itself


@pytest.mark.parametrize(
    ("text", "fixed", "attributes"),
    [
        ("t = 'a'", "t", "t"),
        ("'a' = t AND u IN (1, 2)", "tu", "tu"),
        ("t = 'a' OR t = 'b'", "t", "t"),
        ("t <> 'a'", "", "t"),
        ("t = u", "", "tu"),
        ("t.x = 'a' AND size(u) > 1", "", "tu"),
        ("NOT (t = 'a')", "", "t"),
        ("t IN ('a', u)", "", "tu"),
    ],
)
def test_a_rule_knows_what_it_fixes(text: str, fixed: str, attributes: str) -> None:
    """By `=` and `IN`, on whichever side, and spelt with `OR`."""
    rule = _rule(text)
    assert rule is not None
    assert (rule.fixed, rule.attributes) == (frozenset(fixed), frozenset(attributes))


def test_a_key_is_judged_by_what_it_says() -> None:
    """Conjuncts about other attributes are left for the item."""
    rule = _rule("t = 'a' AND n > 5 AND (t = 'a' OR other = 1)")
    assert rule is not None
    assert rule.admits_key({"t": {"S": "a"}, "n": {"N": "6"}})
    assert not rule.admits_key({"t": {"S": "b"}, "n": {"N": "6"}})
    assert not rule.admits_key({"t": {"S": "a"}, "n": {"N": "5"}})
    assert rule.admits_key({"id": {"S": "x"}})
    assert not rule.admits({"t": {"S": "a"}})


# In the key condition


def test_a_rule_fixes_the_partition_that_a_caller_need_not_name() -> None:
    """An empty question is about everything that the caller may have."""
    found = plan()
    assert (found.path.index, found.withheld) == ("by_tenant", False)
    (request,) = found.requests
    assert request["ExpressionAttributeValues"] == {":p0": _ACME}
    assert "FilterExpression" not in request
    assert plan("at > 5").key.terms == (parse_expression("at > 5", {}),)


def test_a_rule_is_checked_on_every_item_too() -> None:
    """Whatever the key condition says, and whatever attributes are asked for."""
    found = plan("at > 5", projection=(parse_path("note"),))
    assert found.local_filter == parse_expression(_TENANT, {})
    assert found.exact_limit
    assert found.shape.attributes == frozenset({"note"})
    assert "tenant_id" in found.requests[0]["ExpressionAttributeNames"].values()


def test_a_count_is_left_to_dynamodb() -> None:
    """The key condition says all of the rule, and no item comes that could be checked."""
    found = plan("at > 5", counts=True)
    assert found.requests[0]["Select"] == "COUNT"
    assert found.local_filter is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("tenant_id = 'acme'", [_ACME]),
        ("tenant_id IN ('other', 'acme')", [_ACME]),
        ("tenant_id = 'other' OR tenant_id = 'acme'", [_ACME]),
        ("tenant_id = 'other'", []),
        ("tenant_id IN ('b', 'c')", []),
    ],
)
def test_what_a_caller_names_is_cut_to_what_it_may_have(text: str, values: list[object]) -> None:
    """What lies outside gives nothing, and nothing is read for it."""
    found = plan(text)
    assert [request["ExpressionAttributeValues"][":p0"] for request in found.requests] == values
    assert found.operation is (Operation.QUERY if values else Operation.NOTHING)
    assert not found.withheld


def test_several_values_are_several_partitions() -> None:
    """A rule of a few tenants reads each of them."""
    found = plan("at > 5", "tenant_id IN ('a', 'b')")
    assert len(found.requests) == 2
    assert not found.withheld


def test_a_rule_completes_a_key_of_several_attributes() -> None:
    """The caller fixes one of them, the rule the other; so more is narrowed."""
    found = plan("kind = 'login'")
    assert found.path.index == "by_kind_and_tenant"
    assert not found.withheld


@pytest.mark.parametrize(
    ("text", "rule", "terms", "local"),
    [
        ("at > 5", "at <= 100", "at BETWEEN 5 AND 100", "at > 5"),
        ("at > 5", "at < 100", "at < 100", "at > 5"),
        ("at = 5", "at < 100", "at = 5", ""),
        ("at < 200", "at < 100", "at < 100", ""),
        ("at <> 7", "at < 100", "at < 100", "at <> 7"),
    ],
)
def test_no_bound_of_a_caller_makes_a_rules_own_inexact(
    text: str, rule: str, terms: str, local: str
) -> None:
    """DynamoDB has no half-open range: then the service checks the caller's end, not the rule's."""
    found = plan(text, f"{_TENANT} AND {rule}")
    assert " AND ".join(map(Printer().condition, found.key.terms)) == terms
    checks = Printer().condition(found.local_filter) if found.local_filter else ""
    assert checks.removesuffix(f"{_TENANT} AND {rule}").removesuffix(" AND ") == local
    assert not found.withheld


def test_bounds_that_leave_nothing_are_answered_without_a_read() -> None:
    """Also where the rule alone is to blame."""
    assert plan("at > 500", f"{_TENANT} AND at < 100").operation is Operation.NOTHING


@pytest.mark.parametrize(
    "text", ["user_id = 'u'", "user_id = 'u' AND event_id = 'e'", "level = 3", "note = 'x'"]
)
def test_other_paths_are_not_read(text: str) -> None:
    """Reading them would pass over hidden items: the index of the rule is read, and filtered."""
    found = plan(text)
    assert found.path.index == "by_tenant"
    assert {other.reason for other in found.rejected if other.path.index in (None, "by_level")} == {
        "the access rules do not allow it there"
    }


def test_where_no_path_says_the_rule_the_query_is_refused() -> None:
    """Though the catalog allows scans; the text tells that there are rules, not what they say."""
    error = refusal("user_id = 'u'", "owner = 'acme'", on=table(allow_scan=True))
    assert error.reason == "ACCESS_RULES"
    assert "the access rules of events do not allow this query; no key would do" in error.message
    assert "owner" not in error.message
    assert "acme" not in error.message


def test_the_remedy_names_what_the_caller_can_add() -> None:
    """Not what the rule sees to."""
    on = make_table(
        Schema("kinds", "id", None, (Index("i", False, ("kind", "tenant_id"), ()),),
               {"id": "S", "kind": "S", "tenant_id": "S"}),
        required=["kind", "tenant_id"],
    )  # fmt: skip
    error = refusal("note = 'x'", on=on)
    assert "fix a partition key with = or IN: kind (" in error.message
    assert "tenant_id" not in error.message


def test_an_index_that_cannot_say_the_rule_is_refused_by_name() -> None:
    """Forcing it does not help."""
    error = refusal("kind = 'login'", index="by_kind")
    assert error.reason == "INDEX_NOT_USABLE"
    assert error.message == (
        "by_kind cannot serve this query: the access rules do not allow it there"
    )


def test_partitions_of_a_rule_do_not_show_in_numbers() -> None:
    """More of them than are read at once is the operator's mistake, not the caller's."""
    many = ", ".join(f"'t-{number}'" for number in range(51))
    error = refusal("", f"tenant_id IN ({many})")
    assert "51" not in error.message
    listed = ", ".join(f"'{name}'" for name in ("acme", *range(60)))
    assert len(plan(f"tenant_id IN ({listed})").requests) == 1


def test_a_rule_makes_its_attributes_required() -> None:
    """An index on them hides nothing that the caller may have."""
    on = make_table(_SCHEMA, required=["at"])
    assert plan("at > 5", on=on).path.index == "by_tenant"


# As a filter


def test_as_a_filter_any_path_may_be_read() -> None:
    """What it costs is withheld then, since it depends on hidden items."""
    found = plan("user_id = 'u'", as_filter=True)
    assert found.path.index is None
    assert found.withheld
    assert found.filter == parse_expression(_TENANT, {})
    assert plan("user_id = 'u' AND event_id = 'e'", as_filter=True).operation is Operation.GET
    scan = plan("", "owner = 'me'", as_filter=True, on=table(allow_scan=True))
    assert scan.operation is Operation.SCAN
    assert scan.withheld


def test_as_a_filter_too_a_key_condition_is_taken_where_it_narrows_most() -> None:
    """Then nothing needs to be withheld."""
    assert not plan("at > 5", as_filter=True).withheld


def test_an_index_that_lacks_the_rules_attributes_is_checked_on_the_items() -> None:
    """They are got from the table, though the index holds all that the caller asks for."""
    found = plan("level = 3", as_filter=True, index="by_level", projection=(parse_path("at"),))
    assert found.hydration is not None
    assert found.hydration.condition == parse_expression(_TENANT, {})
    assert found.withheld


# What is shown, and shared


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
def test_a_caller_is_shown_its_own_words(text: str, key: str, rest: str, branches: int) -> None:
    """The path is the true one; conditions and numbers are the caller's."""
    found = plan(text, f"{_TENANT} AND at <= 100")
    view = caller_view(Query("events", condition_of(text)), found)
    assert view.path.index == "by_tenant"
    assert len(view.requests) == branches
    assert view.filter == condition_of(rest)
    assert view.local_filter is None
    assert view.operation is Operation.QUERY
    assert explain(Query("events", condition_of(text)), found).key_condition == key


def test_pages_are_shared_only_under_equal_rules() -> None:
    """Where items are hidden pages end differently, though the requests may be the same."""
    own = plan("user_id = 'u' AND tenant_id = 'acme'", None)
    ruled = plan("user_id = 'u'", as_filter=True)
    assert own.requests == ruled.requests
    keys = {own.cache_key, ruled.cache_key, plan("user_id = 'u'", "tenant_id = 'b'",
            as_filter=True).cache_key}  # fmt: skip
    assert len(keys) == 3
    assert plan("user_id = 'u'", as_filter=True).cache_key == ruled.cache_key


def test_a_mistake_of_the_caller_is_told_as_ever() -> None:
    """Rules change no other refusal."""
    with pytest.raises(InvalidRequest, match="at is a number key, not a string"):
        plan("at = 'x'")


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
def test_a_rule_on_fields_is_said_by_the_keys_made_of_them(
    text: str, rule: str, partition: str
) -> None:
    """In a single-table design too the key condition says the rule, and nobody sees the key."""
    on = make_table(_SINGLE, keys=_COMPOSED, expose_keys=False, sparse="allow")
    found = _rule(rule)
    assert found is not None
    asked = Query("single", condition_of(text))
    got = plan_query(asked, on.narrowed(None, found.fixed), found.over(on.view))
    (request,) = got.requests
    assert request["ExpressionAttributeValues"][":p0"] == {"S": partition}
    assert not got.withheld
    told = str(explain(asked, got))
    assert partition not in told
    assert "tenant" not in told
