"""The types of columns that hold values of items, found in the values themselves."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

Numbers: TypeAlias = Literal["exact", "float64"]
"""How numbers become columns.

`"exact"` keeps every digit: a column of whole numbers within 64 bits has integers, any other has
decimals. `"float64"` rounds each number to the nearest double.
"""

_MAX_INT: Final = 2**63 - 1
_INT_DIGITS: Final = 19


class FrameError(ValueError):
    """The values of an attribute do not fit into one column.

    Attributes:
        attribute: The path of the values, such as `lines[].price`.
        reason: Why they do not fit.
    """

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(
            f"attribute {attribute}: {reason}. Leave it out by projection, or name it in `json`"
        )
        self.attribute = attribute
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a column, or of values inside of one.

    Attributes:
        name: null, bool, int, float, decimal, string, binary, list, struct; or mixed, for a library
            whose columns may have values of any types.
        whole: For int and decimal, the most digits before the point.
        scale: For decimal, the most digits behind the point.
        member: For list, the type of the elements.
        fields: For struct, the types of the fields.
    """

    name: str
    whole: int = 0
    scale: int = 0
    member: Kind | None = None
    fields: Mapping[str, Kind] = field(default_factory=dict)


NULL: Final = Kind("null")
MIXED: Final = Kind("mixed")
STRING: Final = Kind("string")
_FLOAT: Final = Kind("float")
_SCALARS: Final[Mapping[type, Kind]] = {
    str: STRING,
    bytes: Kind("binary"),
    bool: Kind("bool"),
    type(None): NULL,
}
_WORDS: Final = {
    "bool": "Booleans",
    "int": "numbers",
    "decimal": "numbers",
    "float": "numbers",
    "string": "strings",
    "binary": "binary values",
    "list": "lists or sets",
    "struct": "maps",
}


def kind_of(value: Any, numbers: Numbers, path: str) -> Kind:
    """Return the type of a value at a path.

    Raises:
        FrameError: The elements of a list have several types.
    """
    scalar = _SCALARS.get(type(value))
    if scalar is not None:
        return scalar
    if isinstance(value, Decimal):
        return _FLOAT if numbers == "float64" else _number_kind(value)
    if isinstance(value, Mapping):
        fields = {name: kind_of(one, numbers, f"{path}.{name}") for name, one in value.items()}
        return Kind("struct", fields=fields)
    inner = f"{path}[]"
    return Kind("list", member=common_kind((kind_of(one, numbers, inner) for one in value), inner))


def common_kind(kinds: Iterable[Kind], path: str) -> Kind:
    """Return the type that holds values of all these types. Raise `FrameError` if none does."""
    common = NULL
    for kind in kinds:
        common = merged(common, kind, path)
    return common


def merged(one: Kind, other: Kind, path: str) -> Kind:
    """Return the type that holds values of both types.

    Raises:
        FrameError: There is none.
    """
    if one is other or other is NULL:
        return one
    if one is NULL:
        return other
    if one.name == other.name:
        return _merged_alike(one, other, path)
    if {one.name, other.name} == {"int", "decimal"}:
        return _decimal(max(one.whole, other.whole), max(one.scale, other.scale))
    words = " and ".join(sorted((_WORDS[one.name], _WORDS[other.name])))
    raise FrameError(path, f"it has {words}, and a column has one type")


def _merged_alike(one: Kind, other: Kind, path: str) -> Kind:
    match one.name:
        case "int":
            return one if one.whole >= other.whole else other
        case "decimal":
            return _decimal(max(one.whole, other.whole), max(one.scale, other.scale))
        case "list":
            assert one.member is not None
            assert other.member is not None
            return Kind("list", member=merged(one.member, other.member, f"{path}[]"))
        case "struct":
            fields = dict(one.fields)
            for name, kind in other.fields.items():
                fields[name] = merged(fields.get(name, NULL), kind, f"{path}.{name}")
            return Kind("struct", fields=fields)
    return one


def _number_kind(value: Decimal) -> Kind:
    _, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # DynamoDB has no NaN or Infinity.
    count = len(digits)
    while exponent < 0 and count and not digits[count - 1]:
        count -= 1
        exponent += 1
    whole, scale = max(0, count + exponent), max(0, -exponent)
    if not scale and whole <= _INT_DIGITS and -_MAX_INT - 1 <= value <= _MAX_INT:
        return _int(whole)
    return _decimal(whole, scale)


@lru_cache(maxsize=32)
def _int(whole: int) -> Kind:
    return Kind("int", whole)


@lru_cache(maxsize=4_096)
def _decimal(whole: int, scale: int) -> Kind:
    return Kind("decimal", whole, scale)


def adapted(value: Any, kind: Kind) -> Any:
    """Return a value as the type has it: sets as sorted lists, absent fields as None."""
    if value is None:
        return None
    match kind.name:
        case "int":
            return int(value)
        case "float":
            return float(value)
        case "decimal":
            return value if isinstance(value, Decimal) else Decimal(value)
        case "list":
            assert kind.member is not None
            members = sorted(value) if isinstance(value, set) else value
            return [adapted(member, kind.member) for member in members]
        case "struct":
            return {name: adapted(value.get(name), one) for name, one in kind.fields.items()}
    return value


def json_text(value: Any) -> str:
    """Return a value as DynamoDB writes it in JSON, with its type: `{"N": "1.5"}`."""
    return json.dumps(_tagged(value), ensure_ascii=False)


def _tagged(value: Any) -> dict[str, Any]:
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case Decimal():
            return {"N": str(value)}
        case bytes():
            return {"B": base64.b64encode(value).decode()}
        case Mapping():
            return {"M": {name: _tagged(one) for name, one in value.items()}}
        case set():
            members = [next(iter(_tagged(one).items())) for one in sorted(value)]
            return {f"{members[0][0]}S": [text for _, text in members]}
    return {"L": [_tagged(one) for one in value]}
