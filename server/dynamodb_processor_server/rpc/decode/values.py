"""The contract's attribute values to the domain's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_server.query.expression.limits import MAX_VALUES
from dynamodb_processor_server.query.expression.values import Value, parse_number

_MAX_DEPTH: Final = 32  # DynamoDB's limit on nested documents
_MAX_NAME: Final = 65_535  # bytes of an attribute's name; DynamoDB Local ends with 500 beyond it


class TooManyValues(ValueError):
    """The values of one request are more than `MAX_VALUES`."""


class ValueCounter:
    """How many values one request may still hold, those inside lists, maps and sets included."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def add(self, count: int) -> None:
        """Take room for some values, or raise TooManyValues."""
        self._left -= count
        if self._left < 0:
            raise TooManyValues(
                f"a request holds at most {MAX_VALUES} values in all, with those inside lists, "
                "maps and sets"
            )


def value_of(message: AttributeValue, room: ValueCounter) -> Value:
    """Return the value a message says. Raise ValueError, with the reason, if it says none."""
    room.add(1)
    return _value(message, 1, room)


def _value(message: AttributeValue, depth: int, room: ValueCounter) -> Value:
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value is at most {_MAX_DEPTH} levels deep")
    kind = message.WhichOneof("value")
    match kind:
        case None:
            raise ValueError("no value is set")
        case "s" | "b" | "bool":
            return Value(kind.upper(), getattr(message, kind))
        case "n":
            return Value("N", parse_number(message.n))
        case "null":
            if not message.null:
                raise ValueError("null can only be true")
            return Value("NULL", None)
        case "l":
            elements = message.l.values
            room.add(len(elements))
            return Value("L", tuple([_value(one, depth + 1, room) for one in elements]))
        case "m":
            return _map(message.m.fields, depth, room)
    texts: Sequence[Any] = getattr(message, kind).values
    room.add(len(texts))
    return _set(kind, [parse_number(text) for text in texts] if kind == "ns" else list(texts))


def _map(fields: Mapping[str, AttributeValue], depth: int, room: ValueCounter) -> Value:
    room.add(len(fields))
    for name in fields:
        if not 0 < len(name.encode()) <= _MAX_NAME:
            raise ValueError(f"a name in a map has 1 to {_MAX_NAME} bytes")
    members = [(name, _value(fields[name], depth + 1, room)) for name in fields]
    members.sort(key=lambda member: member[0])
    return Value("M", tuple(members))


def _set(kind: str, members: list[Any]) -> Value:
    if not members:
        raise ValueError("a set has at least one member")
    distinct = frozenset(members)
    if len(distinct) < len(members):
        raise ValueError("a set has no member twice")
    return Value(kind.upper(), distinct)
