"""Row rules in planning: the reads that they allow, and the refusals."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.query.expression.formatter import ExpressionFormatter
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.planning.plan import Operation
from tests.support.datasets import Index, Schema
from tests.unit.query.planning.row_rules import ACME, SCHEMA, TENANT, plan, refusal, rule_of, table
from tests.unit.query.tables import make_table

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
def test_a_rule_knows_the_attributes_it_fixes(text: str, fixed: str, attributes: str) -> None:
    """It fixes them by `=` and `IN`, with the attribute on either side, and by `OR`."""
    rule = rule_of(text)
    assert (rule.fixed, rule.attributes) == (frozenset(fixed), frozenset(attributes))


def test_a_key_is_checked_by_its_own_attributes() -> None:
    """Conjuncts on other attributes are checked on the item."""
    rule = rule_of("t = 'a' AND n > 5 AND (t = 'a' OR other = 1)")
    assert rule.admits_key({"t": {"S": "a"}, "n": {"N": "6"}})
    assert not rule.admits_key({"t": {"S": "b"}, "n": {"N": "6"}})
    assert not rule.admits_key({"t": {"S": "a"}, "n": {"N": "5"}})
    assert rule.admits_key({"id": {"S": "x"}})
    assert not rule.admits({"t": {"S": "a"}})
    assert rule.admits({"t": {"S": "a"}, "n": {"N": "6"}})


@pytest.mark.parametrize("as_filter", [True, False])
def test_a_rule_is_converted_to_stored_attributes(as_filter: bool) -> None:
    """Times get their stored form; expiry is the query's condition, not the rule's."""
    options = {"timestamps": {"seen": "epoch_seconds"}, "time_to_live": "expires"}
    rule = rule_of("seen > '1970-01-01T00:01:00Z'", as_filter=as_filter)
    view = table(**options, hide_expired=True).view
    assert rule.on_stored_items(view) == rule_of("seen > 60", as_filter=as_filter)


# In the key condition


def test_a_rule_fixes_the_partition_that_a_caller_need_not_name() -> None:
    """A query without a condition reads everything that the caller may have."""
    found = plan()
    assert (found.path.index, found.hides_cost) == ("by_tenant", False)
    (request,) = found.requests
    assert request["ExpressionAttributeValues"] == {":p0": ACME}
    assert "FilterExpression" not in request
    assert plan("at > 5").key.sort_conditions == (parse_expression("at > 5", {}),)


def test_a_rule_is_checked_on_every_item_too() -> None:
    """This holds for every key condition and every projection."""
    found = plan("at > 5", projection=(parse_path("note"),))
    assert found.local_filter == parse_expression(TENANT, {})
    assert found.exact_limit
    assert found.projection.attributes == frozenset({"note"})
    assert "tenant_id" in found.requests[0]["ExpressionAttributeNames"].values()


def test_a_count_is_left_to_dynamodb() -> None:
    """The key condition covers the rule, and a count returns no item to check."""
    found = plan("at > 5", counts=True)
    assert found.requests[0]["Select"] == "COUNT"
    assert found.local_filter is None


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("tenant_id = 'acme'", [ACME]),
        ("tenant_id IN ('other', 'acme')", [ACME]),
        ("tenant_id = 'other' OR tenant_id = 'acme'", [ACME]),
        ("tenant_id = 'other'", []),
        ("tenant_id IN ('b', 'c')", []),
    ],
)
def test_a_caller_gets_only_the_partitions_it_may_have(text: str, values: list[object]) -> None:
    """Other partitions give nothing and are not read."""
    found = plan(text)
    assert [request["ExpressionAttributeValues"][":p0"] for request in found.requests] == values
    assert found.operation is (Operation.QUERY if values else Operation.NOTHING)
    assert not found.hides_cost


def test_several_values_are_several_partitions() -> None:
    """A rule with a few tenants reads the partition of each."""
    found = plan("at > 5", "tenant_id IN ('a', 'b')")
    assert len(found.requests) == 2
    assert not found.hides_cost


def test_a_rule_completes_a_key_of_several_attributes() -> None:
    """The caller fixes one attribute and the rule the other, so the read is narrower."""
    found = plan("kind = 'login'")
    assert found.path.index == "by_kind_and_tenant"
    assert not found.hides_cost


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
def test_no_bound_of_a_caller_makes_the_rules_bound_inexact(
    text: str, rule: str, terms: str, local: str
) -> None:
    """DynamoDB has no half-open range, so the service checks the caller's end, not the rule's."""
    found = plan(text, f"{TENANT} AND {rule}")
    assert " AND ".join(map(ExpressionFormatter().condition, found.key.sort_conditions)) == terms
    checks = ExpressionFormatter().condition(found.local_filter) if found.local_filter else ""
    assert checks.removesuffix(f"{TENANT} AND {rule}").removesuffix(" AND ") == local
    assert not found.hides_cost


def test_an_empty_range_needs_no_read() -> None:
    """This also holds if the rule's bounds make it empty."""
    assert plan("at > 500", f"{TENANT} AND at < 100").operation is Operation.NOTHING


@pytest.mark.parametrize(
    "text", ["user_id = 'u'", "user_id = 'u' AND event_id = 'e'", "level = 3", "note = 'x'"]
)
def test_other_paths_are_not_read(text: str) -> None:
    """They would skip hidden items, so the index of the rule is read, with a filter."""
    found = plan(text)
    assert found.path.index == "by_tenant"
    assert {other.reason for other in found.rejected if other.path.index in (None, "by_level")} == {
        "the access rules do not allow it there"
    }


def test_a_query_is_refused_if_no_path_covers_the_rule() -> None:
    """Allowing scans does not help; the text mentions access rules, but not their content."""
    error = refusal("user_id = 'u'", "owner = 'acme'", on=table(allow_scan=True))
    assert (error.reason, error.subject) == ("ACCESS_RULES", "events")
    assert "the access rules of events do not allow this query; no key would do" in error.message
    assert "owner" not in error.message
    assert "acme" not in error.message


def test_the_advice_names_keys_that_the_caller_can_fix() -> None:
    """It does not name the keys that the rule fixes."""
    on = make_table(
        Schema("kinds", "id", None, (Index("i", False, ("kind", "tenant_id"), ()),),
               {"id": "S", "kind": "S", "tenant_id": "S"}),
        required=["kind", "tenant_id"],
    )  # fmt: skip
    error = refusal("note = 'x'", on=on)
    assert "fix a partition key with = or IN: kind (" in error.message
    assert "tenant_id" not in error.message


def test_an_index_that_cannot_cover_the_rule_is_refused_by_name() -> None:
    """Naming the index in the query does not help."""
    error = refusal("kind = 'login'", index="by_kind")
    assert error.reason == "INDEX_NOT_USABLE"
    assert error.message == (
        "by_kind cannot serve this query: the access rules do not allow it there"
    )


def test_partitions_of_a_rule_do_not_show_in_numbers() -> None:
    """Too many partitions of the rule are the operator's error, so no number is given."""
    many = ", ".join(f"'t-{number}'" for number in range(51))
    error = refusal("", f"tenant_id IN ({many})")
    assert "51" not in error.message
    fifty = many.removesuffix(", 't-50'")
    assert len(plan("", f"tenant_id IN ({fifty})").requests) == 50
    named = refusal(f"tenant_id IN ({fifty})", "kind IN ('a', 'b')", index="by_kind_and_tenant")
    assert named.message.endswith("the access rules do not allow it there")
    listed = ", ".join(f"'{name}'" for name in ("acme", *range(60)))
    assert len(plan(f"tenant_id IN ({listed})").requests) == 1


def test_a_rule_makes_its_attributes_required() -> None:
    """An index on them hides nothing that the caller may have."""
    on = make_table(SCHEMA, required=["at"])
    assert plan("at > 5", on=on).path.index == "by_tenant"


@pytest.mark.parametrize("more", ["at IN (1, 2)", "at <> 7", "tenant_id <> 'b'", "NOT at = 3"])
def test_a_rule_on_keys_without_a_key_condition_is_refused(more: str) -> None:
    """DynamoDB has no such key condition, so hidden items would be read."""
    rule = f"{TENANT} AND {more}"
    assert refusal("at > 5", rule).reason == "ACCESS_RULES"
    assert plan("at > 5", rule, as_filter=True).hides_cost


# As a filter


def test_as_a_filter_any_path_may_be_read() -> None:
    """The cost is hidden then, because it depends on hidden items."""
    found = plan("user_id = 'u'", as_filter=True)
    assert found.path.index is None
    assert found.hides_cost
    assert found.filter == parse_expression(TENANT, {})
    assert plan("user_id = 'u' AND event_id = 'e'", as_filter=True).operation is Operation.GET
    scan = plan("", "owner = 'me'", as_filter=True, on=table(allow_scan=True))
    assert scan.operation is Operation.SCAN
    assert scan.hides_cost
    assert refusal("", "owner = 'me'", as_filter=True).reason == "SCAN_NOT_ALLOWED"


def test_a_filter_rule_prefers_the_key_condition_that_narrows_most() -> None:
    """Such a read skips no hidden item, so its cost is not hidden."""
    assert not plan("at > 5", as_filter=True).hides_cost


def test_an_index_that_lacks_the_rules_attributes_is_checked_on_the_items() -> None:
    """The items are got from the table, even if the index has the caller's attributes."""
    found = plan("level = 3", as_filter=True, index="by_level", projection=(parse_path("at"),))
    assert found.hydration is not None
    assert found.hydration.condition == parse_expression(TENANT, {})
    assert found.hides_cost
    scan = plan("", as_filter=True, index="by_level", projection=(parse_path("at"),),
                on=table(allow_scan=True))  # fmt: skip
    assert scan.operation is Operation.SCAN
    assert scan.hydration == found.hydration


def test_a_partition_key_that_is_not_granted_is_not_named() -> None:
    """Neither reason nor advice names it; a rule that fixes it makes the table readable."""
    on = table().restricted_to(frozenset({"event_id", "note"}), frozenset())
    with pytest.raises(PreconditionFailed) as caught:
        plan("event_id = 'e'", None, on=on)
    assert "@table: its key is not granted" in caught.value.message
    assert "user_id" not in caught.value.message
    assert plan("event_id = 'e'", "user_id = 'u'", on=on).operation is Operation.GET
