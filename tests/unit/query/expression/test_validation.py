"""Static refusals: DynamoDB's rules on expressions, and the types of keys."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.query.expression.parser import ExpressionError, parse_expression
from dynamodb_processor_server.query.expression.values import from_wire
from dynamodb_processor_server.query.planning.key_types import check_key_types
from tests.unit.query.tables import make_schema

VALUES = {
    "bool": from_wire({"BOOL": True}),
    "bin": from_wire({"B": b"x"}),
    "list": from_wire({"L": []}),
    "set": from_wire({"SS": ["x"]}),
    "null": from_wire({"NULL": True}),
}


def check(text: str) -> None:
    """Parse a text with the parameters that it uses, and check it against the events' keys."""
    used = {name: value for name, value in VALUES.items() if f":{name}" in text}
    check_key_types(parse_expression(text, used), make_schema())


def assert_refused(text: str, column: int, words: str) -> None:
    """Assert that a text is refused at a column, for a reason with these words."""
    with pytest.raises(ExpressionError) as caught:
        check(text)
    assert caught.value.column == column
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("a = a", 5, "compares an attribute with itself"),
        ("a.b[0] <> a.b[0]", 11, "with itself"),
        ("a IN (1, a)", 10, "with itself"),
        ("a BETWEEN a AND 2", 11, "with itself"),
        ("a BETWEEN 1 AND a", 17, "with itself"),
        ("contains(a, a)", 13, "with itself"),
        ("1 = 1", 3, "compares values only"),
        ("1 IN (1, 2)", 3, "compares values only"),
        ("1 BETWEEN 0 AND 2", 3, "compares values only"),
        ("contains('abc', 'a')", 1, "compares values only"),
        ("size('abc') > 2", 13, "compares values only"),
        ("size(1) = a", 1, "a number has no size"),
        ("a IN (1, size(:bool))", 10, "a Boolean has no size"),
        ("size(:null) > a", 1, "a null has no size"),
        ("begins_with(:list, a)", 13, "begins_with needs a string or binary value, not a list"),
        ("a < :bool", 5, "< needs a string, number or binary value, not a Boolean"),
        ("a >= :list", 6, "not a list"),
        (":null > a", 1, "not a null"),
        ("a BETWEEN :set AND 'x'", 11, "BETWEEN needs a string, number or binary value"),
        ("a BETWEEN 1 AND 'x'", 3, "two ends of one type, not number and string"),
        ("begins_with(a, 1)", 16, "begins_with needs a string or binary value, not a number"),
        ("begins_with(a, :list)", 16, "not a list"),
        ("begins_with(a, size(b))", 1, "begins_with needs a string or binary value, not a size"),
        ("attribute_type(a, 'X')", 19, "needs one of B, BOOL, BS"),
        ("attribute_type(a, 1)", 19, "needs one of"),
        ("attribute_type(a, b)", 1, "needs a type's name"),
        ("a = 1 OR NOT (b = 2 AND c < true)", 29, "not a Boolean"),
    ],
)
def test_statically_invalid_expressions_are_refused(text: str, column: int, words: str) -> None:
    """The refusal is the same for DynamoDB's part and the service's part of the expression."""
    assert_refused(text, column, words)


@pytest.mark.parametrize(
    "text",
    [
        "a = b",
        "a = :list",
        "a <> :null",
        "a IN (1, 'x', :bool)",
        "a < b",
        "a.b = a",
        "size(a) = a",
        "size(a) = size(a)",
        "size(a) BETWEEN 1 AND size(a)",
        "a BETWEEN 2 AND 1",
        "a BETWEEN b AND c",
        "a BETWEEN 1 AND b",
        "1 BETWEEN a AND b",
        "begins_with(a, b)",
        "begins_with(a, :bin)",
        "contains(a, :bool)",
        "contains(:list, a)",
        "contains(:null, a)",
        "contains(size(a), 'x')",
        "contains(a, size('x'))",
        "begins_with(:bin, a)",
        "size(:list) = a",
        "a BETWEEN 1 AND size('abc')",
        "attribute_type(a, 'NULL')",
    ],
)
def test_conditions_that_may_hold_for_some_item_are_accepted(text: str) -> None:
    """A comparison with another type than an item's is false and not an error."""
    check(text)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("tenant_id = 1", 13, "tenant_id is a string key, not a number"),
        ("1 <> tenant_id", 1, "tenant_id is a string key"),
        ("occurred_at BETWEEN :bin AND :bin", 21, "occurred_at is a string key, not a binary"),
        ("event_id IN ('a', :null)", 19, "event_id is a string key, not a null"),
        ("begins_with(event_id, :bin)", 23, "event_id is a string key, not a binary"),
        ("a = 1 OR NOT event_id = 2", 25, "event_id is a string key"),
        ("tenant_id = ''", 13, "tenant_id is a key and never empty"),
        ("event_id <> ''", 13, "event_id is a key and never empty"),
        ("user_id.name = 'x'", 1, "user_id is a key attribute and has no members"),
        ("size(tenant_id[0]) > 1", 6, "tenant_id is a key attribute and has no members"),
        ("attribute_exists(event_id.x)", 18, "event_id is a key attribute"),
    ],
)
def test_keys_are_compared_with_their_own_type(text: str, column: int, words: str) -> None:
    """No item has another type in a key of the table or a local index, so that is an error."""
    assert_refused(text, column, words)


@pytest.mark.parametrize(
    "text",
    [
        "tenant_id = 'x' AND other = 1",
        "event_id > ''",
        "begins_with(event_id, '')",
        "attribute_type(user_id, 'N')",
        "user_id IN ('a', :null)",
        "user_id <> ''",
        "user_id > 5",
        "contains(user_id, 1)",
        "size(user_id) > 3",
        "user_id = tenant_id",
    ],
)
def test_other_conditions_on_keys_are_valid(text: str) -> None:
    """They may be pointless, but DynamoDB accepts them."""
    check(text)


@pytest.mark.parametrize(
    "text",
    [
        "note IN (event_id, 5, :bin)",
        "size(note) IN (tenant_id, 5)",
        "note BETWEEN event_id AND 5",
        "5 BETWEEN note AND size(tenant_id)",
        "note IN (tenant_id, '')",
    ],
)
def test_operands_that_are_not_compared_may_have_different_types(text: str) -> None:
    """Options and ends are compared with the first operand, not with each other."""
    check(text)


def test_no_condition_has_no_errors() -> None:
    """A query for every item compares nothing."""
    check_key_types(None, make_schema())
