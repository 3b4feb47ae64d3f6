"""The evaluator agrees with DynamoDB; `tests/contract` compares the two."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from dynamodb_processor_server.query.expression.evaluator import evaluate, find
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import from_wire

ITEM: dict[str, dict[str, Any]] = {
    "s": {"S": "abc"},
    "empty": {"S": ""},
    "emoji": {"S": "é😀"},
    "n": {"N": "1.0"},
    "big": {"N": "10"},
    "b": {"B": b"\x01\xff"},
    "yes": {"BOOL": True},
    "nil": {"NULL": True},
    "ss": {"SS": ["a", "b"]},
    "ns": {"NS": ["1", "2.50"]},
    "bs": {"BS": [b"x"]},
    "l": {"L": [{"N": "1"}, {"S": "x"}, {"L": [{"S": "in"}]}]},
    "m": {"M": {"k": {"S": "v"}, "l": {"L": [{"N": "7"}]}, "k k": {"N": "1"}}},
}
PARAMETERS: dict[str, dict[str, Any]] = {
    "null": {"NULL": True},
    "bin": {"B": b"\x01"},
    "ss": {"SS": ["b", "a"]},
    "ns": {"NS": ["2.5", "1.0"]},
    "x": {"B": b"x"},
    "inner": {"L": [{"S": "in"}]},
}


def holds(text: str) -> bool:
    """Return whether a condition holds for the item."""
    used = {name: from_wire(wire) for name, wire in PARAMETERS.items() if f":{name}" in text}
    return evaluate(parse_expression(text, used), ITEM)


@pytest.mark.parametrize(
    "text",
    [
        "s = 'abc'",
        "s <> 'x'",
        "s < 'abd' AND s <= 'abc' AND s > 'abb' AND s >= 'abc'",
        "n = 1 AND n = 1.00 AND n < 1.5 AND n > -1E2",
        "big > 9",
        "b > :bin",
        "big > n",
        "yes = true AND yes <> false",
        "nil = :null",
        "nil = null",
        "ss = :ss",
        "ns = :ns",
        "l[2] = :inner",
        "s BETWEEN 'abc' AND 'abc'",
        "2 BETWEEN n AND big",
        "n IN (5, 1, 'x')",
        "'abc' IN (empty, s)",
        "m.k = 'v' AND m.l[0] = 7 AND l[2][0] = 'in' AND m.\"k k\" = n",
        "attribute_exists(nil) AND attribute_exists(m.l[0])",
        "attribute_not_exists(nothing) AND attribute_not_exists(l[3])",
        "attribute_type(nil, 'NULL') AND attribute_type(m.l, 'L')",
        "begins_with(s, 'ab') AND begins_with(s, '') AND begins_with(b, :bin)",
        "contains(s, 'bc') AND contains(s, '')",
        "contains(b, :bin)",
        "contains(ss, 'a') AND contains(ns, 2.5) AND contains(bs, :x)",
        "contains(l, 1.0) AND contains(l, :inner)",
        "size(s) = 3 AND size(empty) = 0 AND size(b) = 2",
        "size(ss) = 2 AND size(ns) = 2 AND size(l) = 3 AND size(m) = 3",
        "size(emoji) = 3",
        "size(s) > n",
    ],
)
def test_conditions_hold(text: str) -> None:
    """Each operator and function is evaluated on each type, with nested values."""
    assert holds(text)
    assert not holds(f"NOT ({text})")


@pytest.mark.parametrize(
    "text",
    [
        "n = '1.0'",
        "n < 'x' OR n > 'x' OR n <= 'x' OR n >= 'x'",
        "s > 1 OR s < 1",
        "yes > n OR yes < n",
        "l > m OR l <= m",
        "n BETWEEN 'a' AND 'b'",
        "n BETWEEN 5 AND 0",
        "n IN ('1', true)",
        "s.k = 1 OR s[0] = 1 OR m[0] = 1 OR l.k = 1",
        "attribute_type(n, 'S')",
        "begins_with(n, '1') OR begins_with(ss, 'a') OR begins_with(s, :bin)",
        "contains(s, 1) OR contains(ss, 1) OR contains(ns, '1') OR contains(l, 'y')",
        "contains(n, 1) OR contains(m, 'k') OR contains(yes, true)",
        "contains(ss, 'c') OR contains(ns, 25) OR contains(bs, :bin)",
        "begins_with(s, n) OR contains(s, nothing)",
        "size(n) > 0 OR size(yes) > 0 OR size(nil) > 0 OR size(nothing) >= 0",
    ],
)
def test_other_types_make_conditions_false(text: str) -> None:
    """A comparison of different types is false and not an error."""
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nothing = :null", False),
        ("nothing = nothing2", False),
        ("nothing <> 1", True),
        ("nothing <> nothing2", True),
        ("nothing < 1 OR nothing >= 1", False),
        ("NOT nothing = 1", True),
        ("NOT nothing IN (1)", True),
        ("NOT nothing BETWEEN 1 AND 2", True),
        ("nil <> :null", False),
        ("size(n) <> 1", True),
        ("size(nothing) <> 1", True),
        ("begins_with(nothing, '')", False),
        ("contains(nothing, '')", False),
        ("attribute_type(nothing, 'NULL')", False),
    ],
)
def test_missing_is_not_null(text: str, expected: bool) -> None:
    """A missing attribute equals nothing, and so it differs from everything."""
    assert holds(text) is expected


@pytest.mark.parametrize(
    "value",
    [
        {"N": "1" * 39},
        {"N": "1E200"},
        {"N": "NaN"},
        {"NS": ["1", "one"]},
        {"L": [{"N": "1E200"}]},
        {"FUTURE": 1},
    ],
)
def test_a_value_unknown_to_dynamodb_equals_nothing(value: dict[str, Any]) -> None:
    """Other servers with its interface store such values, and items with them can be read."""
    item = {"odd": value, "same": deepcopy(value), "n": {"N": "1"}}
    for text in ("odd = 1", "odd < 1", "odd >= same", "odd = same", "odd BETWEEN 0 AND n"):
        assert not evaluate(parse_expression(text, {}), item)
    for text in (
        "odd <> 1",
        "odd <> same",
        "NOT odd = 1",
        "attribute_exists(odd)",
        "n IN (odd, 1)",
    ):
        assert evaluate(parse_expression(text, {}), item)
    assert not evaluate(parse_expression("size(odd) > 5 OR contains(odd, 1)", {}), item)


def test_strings_are_compared_by_their_bytes() -> None:
    """Strings sort in UTF-8 order, not in UTF-16 order.

    A fraction of a second sorts before the Z of a whole second.
    """
    item = {"a": {"S": "ｱ"}, "b": {"S": "😀"}, "c": {"S": "00.5Z"}, "d": {"S": "00Z"}}
    assert evaluate(parse_expression("a < b AND c < d", {}), item)


def test_finding_follows_a_path_as_far_as_it_leads() -> None:
    """A path through a value without such a member finds nothing."""
    assert find(parse_path("m.l[0]"), ITEM) == {"N": "7"}
    assert find(parse_path("m.l[0].x"), ITEM) is None
    assert find(parse_path("nothing.x"), ITEM) is None
