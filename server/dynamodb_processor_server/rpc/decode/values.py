"""Converts attribute values of the contract to values of the domain model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_server.query.expression.limits import MAX_VALUES
from dynamodb_processor_server.query.expression.values import Value, parse_number

_MAX_DEPTH: Final = 32  # DynamoDB's limit on nested documents
# Bytes of an attribute's name; DynamoDB Local answers a longer one with status 500.
_MAX_NAME: Final = 65_535


class TooManyValues(ValueError):
    """A request has more values than `MAX_VALUES`."""


class ValueCounter:
    """Counts the values of one request, those inside lists, maps and sets included."""

    def __init__(self) -> None:
        self._left = MAX_VALUES

    def add(self, count: int) -> None:
        """Count some more values; raise TooManyValues beyond `MAX_VALUES`."""
        self._left -= count
        if self._left < 0:
            raise TooManyValues(
                f"a request holds at most {MAX_VALUES} values in all, with those inside lists, "
                "maps and sets"
            )


def value_of(message: AttributeValue, counter: ValueCounter) -> Value:
    """Return the value of a message; raise ValueError, with the reason, if it has none."""
    counter.add(1)
    return _value(message, 1, counter)


def _value(message: AttributeValue, depth: int, counter: ValueCounter) -> Value:
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
            counter.add(len(elements))
            return Value("L", tuple([_value(one, depth + 1, counter) for one in elements]))
        case "m":
            return _map(message.m.fields, depth, counter)
    texts: Sequence[Any] = getattr(message, kind).values
    counter.add(len(texts))
    return _set(kind, [parse_number(text) for text in texts] if kind == "ns" else list(texts))


def _map(fields: Mapping[str, AttributeValue], depth: int, counter: ValueCounter) -> Value:
    counter.add(len(fields))
    for name in fields:
        if not 0 < len(name.encode()) <= _MAX_NAME:
            raise ValueError(f"a name in a map has 1 to {_MAX_NAME} bytes")
    members = [(name, _value(fields[name], depth + 1, counter)) for name in fields]
    members.sort(key=lambda member: member[0])
    return Value("M", tuple(members))


def _set(kind: str, members: list[Any]) -> Value:
    if not members:
        raise ValueError("a set has at least one member")
    unique = frozenset(members)
    if len(unique) < len(members):
        raise ValueError("a set has no member twice")
    return Value(kind.upper(), unique)
