"""DynamoDB's values as frozen Python data, which compare and hash as DynamoDB compares them.

A wire value is a dict with one entry, whose key is the type: `{"S": "x"}`. `Value` is the same as a
value object; `from_wire` and `to_wire` convert. Binary is `bytes` in both.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, Final, TypeAlias

WireValue: TypeAlias = Mapping[str, Any]
WireItem: TypeAlias = Mapping[str, WireValue]

TYPES: Final = frozenset({"S", "N", "B", "BOOL", "NULL", "SS", "NS", "BS", "L", "M"})
ORDERED_TYPES: Final = frozenset({"S", "N", "B"})
TYPE_NAMES: Final = {
    "S": "string", "N": "number", "B": "binary", "BOOL": "Boolean", "NULL": "null",
    "SS": "string set", "NS": "number set", "BS": "binary set", "L": "list", "M": "map",
}  # fmt: skip

# DynamoDB: 38 significant digits, magnitudes from 1E-130 to 9.99…E+125.
_MAX_DIGITS = 38
_MAX_EXPONENT = 125
_MIN_EXPONENT = -130
# A valid number can be written in 170 characters; the rest leaves room for zeros.
_MAX_NUMBER_TEXT = 1_000
_NUMBER_BYTES = 21  # of a number in DynamoDB, at most
_ARITHMETIC = decimal.Context(prec=2 * _MAX_DIGITS)


@dataclass(frozen=True, slots=True)
class Value:
    """One value.

    The type of `data` depends on `type`: str, Decimal, bytes, bool, None, a frozenset, a tuple of
    values (a list) or a tuple of (name, value) pairs sorted by name (a map).

    Equality is DynamoDB's: equal types and equal contents, numbers by value.
    """

    CANONICAL_TAGS: ClassVar = ("value", {"type": 1, "data": 2})

    type: str
    data: Any

    @property
    def order(self) -> Any:
        """A key that sorts values of one ordered type as DynamoDB does (strings by UTF-8 bytes)."""
        return utf8(self.data) if self.type == "S" else self.data


def utf8(text: str) -> bytes:
    """Return the UTF-8 bytes of a text, even if it has half of a surrogate pair.

    No character has the bytes of such a half, so different texts have different bytes.
    """
    return text.encode("utf-8", "surrogatepass")


def parse_number(text: str) -> Decimal:
    """Parse a number; raise ValueError if DynamoDB has no such number."""
    if len(text) > _MAX_NUMBER_TEXT:
        raise ValueError(
            f"{text[:60]!r} is not a number: it has {len(text)} characters, more than "
            f"{_MAX_NUMBER_TEXT}"
        )
    try:
        number = Decimal(text)
    except decimal.InvalidOperation:
        raise ValueError(f"{text[:60]!r} is not a number") from None
    if "_" in text or text != text.strip():  # Python accepts these, DynamoDB does not
        raise ValueError(f"{text[:60]!r} is not a number")
    if not number.is_finite():
        raise ValueError(f"{text[:60]!r} is not a finite number")
    if number == 0:
        return Decimal(0)
    digits = number.as_tuple().digits
    significant = len(digits) - _trailing_zeros(digits)
    if significant > _MAX_DIGITS:
        raise ValueError(
            f"a number has at most {_MAX_DIGITS} significant digits, not {significant}"
        )
    if not _MIN_EXPONENT <= number.adjusted() <= _MAX_EXPONENT:
        raise ValueError("a number's magnitude lies between 1E-130 and 9.99E+125")
    return _ARITHMETIC.normalize(number)


def _trailing_zeros(digits: tuple[int, ...]) -> int:
    zeros = 0
    for digit in reversed(digits):
        if digit:
            break
        zeros += 1
    return zeros


def number_text(number: Decimal) -> str:
    """Return the canonical text of a number, the same for every spelling of it."""
    normal = _ARITHMETIC.normalize(number)
    return format(normal, "f") if -40 < normal.adjusted() < 40 else str(normal)


def size_of(value: Value) -> tuple[int, int]:
    """Return the number of values, with nested ones, and their approximate size in bytes."""
    match value.type:
        case "S":
            return 1, len(value.data.encode())
        case "B":
            return 1, len(value.data)
        case "SS":
            return 1 + len(value.data), sum(len(member.encode()) for member in value.data)
        case "BS":
            return 1 + len(value.data), sum(map(len, value.data))
        case "NS":
            return 1 + len(value.data), _NUMBER_BYTES * len(value.data)
        case "L":
            inside = [size_of(element) for element in value.data]
            names = 0
        case "M":
            inside = [size_of(element) for _, element in value.data]
            names = sum(len(name.encode()) for name, _ in value.data)
        case _:
            return 1, _NUMBER_BYTES
    return 1 + sum(count for count, _ in inside), names + sum(size for _, size in inside)


def from_wire(wire: WireValue) -> Value:
    """Convert a wire value to a value. Raises ValueError for one that DynamoDB refuses."""
    if len(wire) != 1:
        raise ValueError("a value has exactly one type")
    ((tag, data),) = wire.items()
    match tag:
        case "S" | "BOOL":
            return Value(tag, data)
        case "N":
            return Value(tag, parse_number(data))
        case "B":
            return Value(tag, bytes(data))
        case "NULL":
            return Value(tag, None)
        case "SS" | "BS":
            return Value(tag, frozenset(data))
        case "NS":
            return Value(tag, frozenset(parse_number(text) for text in data))
        case "L":
            return Value(tag, tuple(from_wire(element) for element in data))
        case "M":
            return Value(tag, tuple(sorted((name, from_wire(data[name])) for name in data)))
    raise ValueError(f"unknown type {tag!r}")


def to_wire(value: Value) -> dict[str, Any]:
    """Return the wire form of a value, with sets in a fixed order and numbers in canonical form."""
    match value.type:
        case "N":
            return {"N": number_text(value.data)}
        case "NULL":
            return {"NULL": True}
        case "SS" | "BS":
            return {value.type: sorted(value.data)}
        case "NS":
            return {"NS": [number_text(number) for number in sorted(value.data)]}
        case "L":
            return {"L": [to_wire(element) for element in value.data]}
        case "M":
            return {"M": {name: to_wire(element) for name, element in value.data}}
    return {value.type: value.data}
