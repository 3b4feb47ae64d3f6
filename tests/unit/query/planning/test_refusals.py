"""Refusals: the reason, then the ways out, without hidden names."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.errors import InvalidRequest, PreconditionFailed
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule
from tests.support.datasets import Index, Schema
from tests.unit.query.tables import make_table

_ORDERS: Final = Schema(
    "orders",
    "order_id",
    None,
    (
        Index("by_status", False, ("status",), ("placed_at",)),
        Index("by_customer", False, ("customer",), ("total", "placed_at")),
    ),
    {"order_id": "S", "status": "S", "placed_at": "S", "customer": "S", "total": "N"},
)
_OMISSION: Final = (
    "by_status: the index holds only items that have placed_at as a non-empty string, which "
    "neither the condition nor the catalog guarantees"
)


def orders(**options: Any) -> Table:
    """Return a table of orders with a sort key in each index."""
    return make_table(_ORDERS, **options)


def plan(table: Table, text: str, rule: RowRule | None = None, **fields: Any) -> Plan:
    """Return the plan of a query of orders."""
    return plan_query(Query("orders", parse_expression(text, {}), **fields), table, rule)


def refused(table: Table, text: str, rule: RowRule | None = None, **fields: Any) -> str:
    """Return the message with which a query of orders is refused."""
    with pytest.raises(PreconditionFailed) as caught:
        plan(table, text, rule, **fields)
    return caught.value.message


def test_the_index_whose_partition_key_is_fixed_comes_first_with_every_way_out() -> None:
    """The caller fixed the index's key, and gets the reason why that is not enough."""
    message = refused(orders(), "status = 'open'")
    assert message == (
        "this needs a scan, and scans of orders are not allowed; "
        f"{_OMISSION}; ways out: the operator can set required: [placed_at] in the catalog if "
        "every item has it, or sparse: allow if items without it may be left out; the caller can "
        "set index: by_status to accept that, or compare placed_at with = or IN; or fix a "
        "partition key with = or IN: order_id, customer (@table: the condition does not fix "
        "order_id with = or IN; by_customer: the condition does not fix customer with = or IN)"
    )
    assert "fix a partition key with = or IN: status" not in message
    assert len(message.encode()) <= 800


@pytest.mark.parametrize(
    ("options", "text", "index"),
    [
        ({"required": ["placed_at"]}, "status = 'open'", None),
        ({"sparse": "allow"}, "status = 'open'", None),
        ({}, "status = 'open'", "by_status"),
        ({}, "status = 'open' AND placed_at = '2026-01-01'", None),
        ({}, "status = 'open' AND placed_at IN ('2026-01-01', '2026-01-02')", None),
    ],
)
def test_every_way_out_works(options: dict[str, Any], text: str, index: str | None) -> None:
    """With each change that the message names, the index is used."""
    assert plan(orders(**options), text, index=index).path.index == "by_status"


def test_of_several_indexes_the_one_that_lacks_least_is_explained() -> None:
    """The other index is named with its reason alone."""
    message = refused(orders(), "customer = 'c' AND status = 'open'")
    assert f"not allowed; {_OMISSION}; ways out:" in message
    assert (
        "by_customer: the index holds only items that have total as a number and placed_at as a "
        "non-empty string, which neither" in message
    )
    message = refused(orders(required=["placed_at"]), "customer = 'c'")
    assert "required: [total] in the catalog" in message
    assert "compare total with =, IN or a range" in message


def test_a_path_that_was_left_out_is_explained_with_its_ways_out() -> None:
    """`ExplainQuery` has the same text for a path if another one serves the query."""
    found = plan(orders(), "status = 'open' AND order_id = 'o'")
    (other,) = (one for one in found.rejected if one.path.index == "by_status")
    assert [attribute.name for attribute in other.unproven] == ["placed_at"]


def test_no_refusal_names_a_hidden_attribute() -> None:
    """An index is not named if its sort key is not granted, or if a rule opens it."""
    granted = orders().restricted_to(frozenset({"order_id", "status"}), frozenset())
    message = refused(granted, "status = 'open'")
    assert "placed_at" not in message
    assert "by_status" not in message
    rule = RowRule(parse_expression("placed_at = '2026-01-01' AND total > 5", {}), as_filter=True)
    granted = orders().restricted_to(frozenset({"order_id", "status"}), rule.fixed)
    message = refused(granted, "order_id > 'o'", rule)
    assert "placed_at" not in message
    assert "by_status" not in message


def test_keys_that_are_not_shown_are_called_by_their_fields() -> None:
    """Neither the reason nor the ways out have the stored name."""
    table = orders(keys={"placed_at": "{day}#{number}"}, expose_keys=False)
    message = refused(table, "status = 'open'")
    assert "placed_at" not in message
    assert "holds only items that have a key of day, number, which" in message
    assert "`required` for a key of day, number in the catalog" in message


@pytest.mark.parametrize("word", ["open", '"open"'])
def test_a_word_without_single_quotes_is_an_attributes_name(word: str) -> None:
    """The refusal explains how to write a text, for a key's value or an unknown name."""
    hint = "open is an attribute's name; if the text is meant, write 'open'"
    assert f"not allowed; {hint}; " in refused(orders(), f"status = {word}")
    assert hint in refused(orders(), f"status IN ({word}, 'paid')")
    assert hint in refused(orders(), f"status = {word}", index="by_status")
    assert "if the text is meant" not in refused(orders(), f"note = {word}")
    shown = orders(attributes=["order_id", "status"])
    with pytest.raises(InvalidRequest) as caught:
        plan(shown, f"status = {word}")
    (violation,) = caught.value.violations
    assert violation.description == f"column 10: orders has no open; {hint}"
