"""Tests that values are unchanged on the way to the service and back."""

from __future__ import annotations

from collections import UserDict, UserList, deque
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from boto3.dynamodb.types import Binary
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor.v1.value_pb2 import AttributeValue, NumberSet
from dynamodb_processor_client import Internal
from dynamodb_processor_client.values import decode, encode

_numbers = st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent),
    st.integers(-(10**28) + 1, 10**28 - 1),
    st.integers(-100, 90),
)
_scalars = st.one_of(st.none(), st.booleans(), st.text(), st.binary(), _numbers)
_sets = st.one_of(
    st.sets(st.text(), min_size=1),
    st.sets(st.binary(), min_size=1),
    st.sets(_numbers, min_size=1),
)
_values = st.recursive(
    st.one_of(_scalars, _sets),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=20,
)


@given(_values)
def test_every_value_survives(value: Any) -> None:
    """A value that DynamoDB can hold comes back equal, type by type."""
    message = AttributeValue.FromString(encode(value).SerializeToString())
    decoded = decode(message)
    assert decoded == value
    assert type(decoded) is type(value)


def test_38_digits_survive() -> None:
    """The longest number comes back with every digit, on either side of the point."""
    for text in ("1" * 38, "-0." + "9" * 38, f"9.{'9' * 37}E+125", "1E-130"):
        assert decode(encode(Decimal(text))) == Decimal(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-12, "-12"),
        (Decimal("1.50"), "1.50"),
        (10**125, "1" + "0" * 125),
    ],
)
def test_numbers_are_decimal_text(value: int | Decimal, text: str) -> None:
    """Integers and decimals are sent as their decimal text."""
    assert encode(value) == AttributeValue(n=text)


def test_a_bool_is_not_a_number() -> None:
    """`True` is a Boolean although Python counts it among the integers."""
    assert encode(True) == AttributeValue(bool=True)
    assert encode([False]).l.values[0] == AttributeValue(bool=False)


def test_boto3s_binary_is_accepted() -> None:
    """A binary value from boto3 is accepted, alone and in a set."""
    assert encode(Binary(b"ab")) == encode(b"ab")
    assert encode({Binary(b"ab")}) == encode({b"ab"})


def test_all_sets_and_sequences_are_accepted() -> None:
    """Views, deques, ranges and other sets and sequences are sent like sets and lists."""
    assert encode({"a": 1, "b": 2}.keys()) == encode({"a", "b"})
    assert encode(deque([1, "a"])) == encode([1, "a"])
    assert encode(range(3)) == encode([0, 1, 2])
    assert encode(UserList(["a"])) == encode(["a"])
    assert encode(memoryview(b"ab")) == encode(b"ab")
    assert encode(UserDict({"a": 1})) == encode({"a": 1})


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-inf", "1_000", "", "abc", "١٢", " 1", "0x1"])
def test_invalid_numbers_of_the_service_are_an_error(text: str) -> None:
    """An invalid number from the service is an error of the service, and not a value."""
    for value in (AttributeValue(n=text), AttributeValue(ns=NumberSet(values=["1", text]))):
        with pytest.raises(Internal, match="bad number"):
            decode(value)
    with pytest.raises(Internal, match="bad number"):
        decode(AttributeValue(n="1E" + "9" * 30))


def test_tuples_bytearrays_and_frozensets_are_accepted() -> None:
    """The less usual forms of a value are sent like the usual ones."""
    assert encode((1, "a")) == encode([1, "a"])
    assert encode(bytearray(b"ab")) == encode(b"ab")
    assert encode(frozenset({"a", "b"})) == encode({"b", "a"})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (datetime(2026, 1, 31, 8, 30, tzinfo=UTC), "2026-01-31T08:30:00Z"),
        (datetime(2026, 1, 31, 8, 30, 0, 5, tzinfo=UTC), "2026-01-31T08:30:00.000005Z"),
        (
            datetime(2026, 1, 31, 8, 30, tzinfo=timezone(timedelta(hours=2))),
            "2026-01-31T06:30:00Z",
        ),
        (datetime(987, 1, 1, tzinfo=UTC), "0987-01-01T00:00:00Z"),
    ],
)
def test_times_are_utc_text(value: datetime, text: str) -> None:
    """A time becomes RFC 3339 text in UTC, with a fraction only if it has one."""
    assert encode(value) == AttributeValue(s=text)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (datetime.max.replace(tzinfo=timezone(-timedelta(hours=1))), ValueError, "1 to 9999"),
        (datetime.min.replace(tzinfo=timezone(timedelta(hours=1))), ValueError, "1 to 9999"),
        (1.5, TypeError, "Decimal\\('1.5'\\)"),
        ([{"a": 0.1}], TypeError, "float"),
        (object(), TypeError, "object"),
        ({1: "a"}, TypeError, "names in a map"),
        ({1, "a"}, TypeError, "not several"),
        ({True}, TypeError, "bool"),
        ({(1, 2)}, TypeError, "tuple"),
        (set(), ValueError, "empty"),
        (Decimal("NaN"), ValueError, "NaN"),
        (Decimal("Infinity"), ValueError, "Infinity"),
        (Decimal("1" * 39), ValueError, "38"),
        (10**126, ValueError, "range"),
        (Decimal("1E-131"), ValueError, "range"),
        (datetime(2026, 1, 1), ValueError, "time zone"),  # noqa: DTZ001 - that is the point
    ],
)
def test_values_that_dynamodb_cannot_hold_are_refused(
    value: Any, error: type[Exception], words: str
) -> None:
    """A value that would be lost or refused later is refused, and the message gives the reason."""
    with pytest.raises(error, match=words):
        encode(value)


def test_endless_values_are_refused() -> None:
    """A list that contains itself is an error, not a crash."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="32 levels"):
        encode(endless)


def test_an_unknown_type_is_an_error() -> None:
    """A value of an unknown type is not silently dropped."""
    with pytest.raises(Internal, match="update the client"):
        decode(AttributeValue())
