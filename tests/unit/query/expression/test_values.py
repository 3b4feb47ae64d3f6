"""Values: DynamoDB's equality, its numbers, and conversion to and from the wire."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given

from dynamodb_processor_server.query.expression.values import (
    Value,
    from_wire,
    number_text,
    parse_number,
    to_wire,
)
from tests.unit.query.expression.wire_values import numbers, wire_values

DIGITS_38 = "12345678901234567890123456789012345678"


@given(wire_values)
def test_values_survive_the_wire(wire: dict[str, Any]) -> None:
    """Values of all ten types convert back to equal values, with a stable wire form."""
    value = from_wire(wire)
    again = to_wire(value)
    assert from_wire(again) == value
    assert hash(from_wire(again)) == hash(value)
    assert to_wire(from_wire(again)) == again


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("0E999999", "0"),
        ("1", "1"),
        ("1.0", "1"),
        ("1e0", "1"),
        ("+001.500", "1.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-1E2", "-100"),
        (DIGITS_38, DIGITS_38),
        (DIGITS_38 + "000", DIGITS_38 + "0E+2"),
        ("9.9999999999999999999999999999999999999E+125",) * 2,
        ("-1E-130",) * 2,
        ("0.0000000000000000000000000000000000000001", "1E-40"),
    ],
)
def test_a_number_has_one_text(text: str, canonical: str) -> None:
    """Every spelling of a number has one text in requests and cache keys."""
    shown = number_text(parse_number(text))
    assert Decimal(shown) == Decimal(canonical)
    assert shown == number_text(parse_number(canonical))


@pytest.mark.parametrize("spelling", ["1", "1.0", "1e0", "+1", "100E-2", "0001"])
def test_spellings_of_one_number_are_equal(spelling: str) -> None:
    """`1` and `1.0` are one key, one set member and one text."""
    assert from_wire({"N": spelling}) == from_wire({"N": "1"})
    assert hash(from_wire({"N": spelling})) == hash(from_wire({"N": "1"}))
    assert to_wire(from_wire({"N": spelling})) == {"N": "1"}


@pytest.mark.parametrize("text", [DIGITS_38, f"{DIGITS_38}000", f"0.{DIGITS_38}", f"-{DIGITS_38}"])
def test_38_digits_are_exact(text: str) -> None:
    """None of 38 digits is lost, at any place of the point; trailing zeros do not count."""
    assert parse_number(text) == Decimal(text)
    assert parse_number(number_text(parse_number(text))) == Decimal(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.50", "1.5"),
        ("1E39", "1" + 39 * "0"),
        ("1E40", "1E+40"),
        ("-15E-40", "-0." + 38 * "0" + "15"),
        ("1.5E-40", "1.5E-40"),
    ],
)
def test_long_numbers_are_shown_with_an_exponent(text: str, shown: str) -> None:
    """From 40 places on, requests, cache keys and tokens have this text."""
    assert number_text(parse_number(text)) == shown


def test_sets_go_to_the_wire_in_one_order() -> None:
    """Equal requests have equal bytes for any original order."""
    assert to_wire(from_wire({"SS": ["b", "a", "c"]})) == {"SS": ["a", "b", "c"]}
    assert to_wire(from_wire({"BS": [b"b", b"a"]})) == {"BS": [b"a", b"b"]}
    assert to_wire(from_wire({"NS": ["10", "9.0"]})) == {"NS": ["9", "10"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (DIGITS_38 + "9", "38 significant digits, not 39"),
        (DIGITS_38 + "90", "38 significant digits, not 39"),
        (f"0.{DIGITS_38}9", "38 significant digits"),
        ("1E126", "a number's magnitude lies between 1E-130 and 9.99E.125$"),
        ("9.9E-131", "magnitude"),
        ("1E99999999999999999999", "not a number"),
        ("NaN", "not a finite number"),
        ("sNaN", "not a finite number"),
        ("-Infinity", "not a finite number"),
        ("", "not a number"),
        ("1_000", "not a number"),
        (" 1", "not a number"),
        ("0x1", "not a number"),
        ("1,5", "not a number"),
        ("x" * 10_000, "not a number"),
    ],
)
def test_numbers_that_dynamodb_refuses_are_refused(text: str, words: str) -> None:
    """The error does not repeat all of a long text."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_number(text)
    assert len(str(caught.value)) < 200


@given(numbers, numbers)
def test_numbers_are_ordered_by_value(one: str, other: str) -> None:
    """Number values sort as the numbers do."""
    values = from_wire({"N": one}), from_wire({"N": other})
    assert (values[0].order < values[1].order) == (Decimal(one) < Decimal(other))


def test_strings_are_ordered_by_their_bytes() -> None:
    """UTF-8, not UTF-16, decides: half-width katakana sort before an emoji."""
    texts = ["Z", "a", "é", "ｱ", "😀"]
    values = [Value("S", text) for text in reversed(texts)]
    assert [value.data for value in sorted(values, key=lambda value: value.order)] == texts


def test_equality_is_of_type_and_content() -> None:
    """Sets have no order and lists do; equal content of another type is another value."""
    assert from_wire({"SS": ["a", "b"]}) == from_wire({"SS": ["b", "a"]})
    assert from_wire({"NS": ["1", "2.0"]}) == from_wire({"NS": ["2", "1.0"]})
    assert from_wire({"L": [{"S": "a"}, {"S": "b"}]}) != from_wire({"L": [{"S": "b"}, {"S": "a"}]})
    fields = {"a": {"N": "1"}, "b": {"N": "2"}}
    assert from_wire({"M": fields}) == from_wire({"M": dict(reversed(fields.items()))})
    assert from_wire({"S": "1"}) != from_wire({"N": "1"})
    assert from_wire({"BOOL": True}) != from_wire({"N": "1"})
    assert from_wire({"L": []}) != from_wire({"M": {}})


@pytest.mark.parametrize("wire", [{}, {"S": "a", "N": "1"}, {"X": "a"}, {"N": "one"}])
def test_invalid_values_are_refused(wire: dict[str, Any]) -> None:
    """A value has exactly one known type, and content of that type."""
    with pytest.raises(ValueError, match=r"type|number"):
        from_wire(wire)
