"""Converts between values of Python and DynamoDB without losing a digit.

| Python                        | DynamoDB | back in Python |
|-------------------------------|----------|----------------|
| `str`                         | S        | `str`          |
| aware `datetime`              | S        | `str`          |
| `int`, `Decimal`              | N        | `Decimal`      |
| `bytes`, `bytearray`, `memoryview`, boto3's `Binary` | B | `bytes` |
| `bool`                        | BOOL     | `bool`         |
| `None`                        | NULL     | `None`         |
| set of one kind, such as `set`, `frozenset` or a view of keys | SS NS BS | `set` |
| sequence, such as `list`, `tuple` or `deque` | L | `list` |
| mapping with `str` keys       | M        | `dict`         |

A `float` is refused, because it has already lost digits that a DynamoDB number keeps. A `datetime`
becomes RFC 3339 text in UTC: `2026-01-31T08:30:00Z`, with six digits of fraction only if it has
microseconds. DynamoDB compares such text byte by byte, so pass a string if a table stores another
form.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias

from dynamodb_processor.v1.value_pb2 import (
    AttributeValue,
    BinarySet,
    ListValue,
    MapValue,
    NumberSet,
    StringSet,
)
from dynamodb_processor.v1.value_pb2 import Item as ItemMessage
from dynamodb_processor_client.argument_checks import check_characters
from dynamodb_processor_client.errors import Internal

Value: TypeAlias = (
    str
    | int
    | Decimal
    | bytes
    | bytearray
    | memoryview
    | bool
    | datetime
    | AbstractSet[str]
    | AbstractSet[int]
    | AbstractSet[Decimal]
    | AbstractSet[bytes]
    | Sequence["Value"]
    | Mapping[str, "Value"]
    | None
)
"""The values that a parameter can have."""

Item: TypeAlias = dict[str, Any]
"""One item: Python values by attribute name."""

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
_MAX_DIGITS = 38
_MAX_EXPONENT = 125
_MIN_EXPONENT = -130
_MAX_DEPTH = 32

# `Decimal` also accepts underscores, digits of other scripts, NaN and Infinity.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def encode(value: Value) -> AttributeValue:
    """Return `value` as a message.

    Raises:
        TypeError: DynamoDB does not have the type, or the members of a set have several types.
        ValueError: A number is out of DynamoDB's range or over 38 digits, a set is empty, a
            `datetime` has no time zone or no valid year in UTC, a string has half a surrogate pair,
            or the nesting is over 32 levels.
    """
    return _encode(value, 0)


def number(text: str) -> Decimal:
    """Parse a number in DynamoDB's form.

    Raises:
        ValueError: The text is not such a number.
    """
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{_shortened(text)} is not a number")
    try:
        return Decimal(text)
    except InvalidOperation:  # The exponent has more digits than Python accepts.
        raise ValueError(f"{_shortened(text)} is out of DynamoDB's range") from None


def decode(value: AttributeValue) -> Any:
    """Return the Python value of a message.

    Raises:
        Internal: This client does not know the type of the value, or a number is invalid.
    """
    kind = value.WhichOneof("value")
    if kind is None:
        raise Internal(
            "the service sent a value of a kind that this client does not know; update the client",
            reason="UNKNOWN_VALUE_KIND",
        )
    return _DECODERS[kind](value)


def decode_item(item: ItemMessage) -> Item:
    """Return an item as a dictionary with its attributes in the order of their names."""
    attributes = item.attributes
    return {name: decode(attributes[name]) for name in sorted(attributes)}


def _encode(value: object, depth: int) -> AttributeValue:
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value may be nested at most {_MAX_DEPTH} levels deep")
    match value:
        case None:
            return AttributeValue(null=True)
        case bool():  # before int, its base class
            return AttributeValue(bool=value)
        case AbstractSet():
            return _encode_set(value)
        case str() | bytes() | bytearray() | memoryview():  # before Sequence, their base class
            return _encode_scalar(value)
        case Sequence():
            members = [_encode(member, depth + 1) for member in value]
            return AttributeValue(l=ListValue(values=members))
        case Mapping():
            return AttributeValue(m=MapValue(fields=_encode_fields(value, depth + 1)))
        case _:
            return _encode_scalar(value)


def _encode_scalar(value: object) -> AttributeValue:
    match value:
        case str():
            check_characters(value)
            return AttributeValue(s=value)
        case int() | Decimal() if not isinstance(value, bool):
            return AttributeValue(n=_number_text(value))
        case bytes() | bytearray() | memoryview():
            return AttributeValue(b=bytes(value))
        case datetime():
            return AttributeValue(s=_timestamp_text(value))
        case float():
            raise TypeError(f"a float is inexact: use Decimal({str(value)!r}) instead of {value!r}")
    if type(value).__module__ == "boto3.dynamodb.types" and hasattr(value, "value"):
        return _encode_scalar(value.value)  # its `Binary`, without an import of boto3
    raise TypeError(f"DynamoDB has no type for a {type(value).__name__}: {value!r}")


def _encode_set(members: AbstractSet[object]) -> AttributeValue:
    if not members:
        raise ValueError("DynamoDB has no empty sets")
    encoded = [_encode_scalar(member) for member in members]
    kinds = {member.WhichOneof("value") for member in encoded}
    if kinds == {"s"}:
        return AttributeValue(ss=StringSet(values=sorted(member.s for member in encoded)))
    if kinds == {"n"}:
        return AttributeValue(ns=NumberSet(values=sorted(member.n for member in encoded)))
    if kinds == {"b"}:
        return AttributeValue(bs=BinarySet(values=sorted(member.b for member in encoded)))
    raise TypeError("a set holds strings, or numbers, or binary values; not several of them")


def _encode_fields(fields: Mapping[Any, object], depth: int) -> dict[str, AttributeValue]:
    for name in fields:
        if not isinstance(name, str):
            raise TypeError(f"names in a map are strings, not {type(name).__name__}: {name!r}")
        check_characters(name)
    return {name: _encode(value, depth) for name, value in fields.items()}


def _number_text(value: int | Decimal) -> str:
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"DynamoDB has no number {value}")
    if number:
        exponent = number.adjusted()
        if not _MIN_EXPONENT <= exponent <= _MAX_EXPONENT:
            raise ValueError(f"a number of magnitude 1E{exponent:+} is out of DynamoDB's range")
        digits = "".join(map(str, number.as_tuple().digits)).rstrip("0")
        if len(digits) > _MAX_DIGITS:
            raise ValueError(f"a number has at most {_MAX_DIGITS} significant digits: {value}")
    return str(number)


def _timestamp_text(value: datetime) -> str:
    if value.utcoffset() is None:
        raise ValueError(f"a datetime needs a time zone: {value!r}")
    try:
        utc = value.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError(f"in UTC the year of {value!r} is not 1 to 9999") from None
    return utc.isoformat(timespec="microseconds" if utc.microsecond else "seconds") + "Z"


def _decode_number(text: str) -> Decimal:
    try:
        return number(text)
    except ValueError as error:
        raise Internal(f"the service sent a bad number: {error}", reason="BAD_ANSWER") from error


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 50 else text[:50] + "...")


_DECODERS: dict[str, Callable[[AttributeValue], Any]] = {
    "s": lambda value: value.s,
    "n": lambda value: _decode_number(value.n),
    "b": lambda value: value.b,
    "bool": lambda value: value.bool,
    "null": lambda value: None,
    "ss": lambda value: set(value.ss.values),
    "ns": lambda value: {_decode_number(member) for member in value.ns.values},
    "bs": lambda value: set(value.bs.values),
    "l": lambda value: [decode(member) for member in value.l.values],
    "m": lambda value: {name: decode(value.m.fields[name]) for name in sorted(value.m.fields)},
}
