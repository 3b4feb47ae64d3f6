"""The contract's attribute values to the domain's."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_server.query.values import Value, from_wire, parse_number

_MAX_DEPTH: Final = 32  # DynamoDB's limit on nested documents


def value_of(message: AttributeValue) -> Value:
    """Return the value a message says. Raise ValueError, with the reason, if it says none."""
    return from_wire(_wire(message, 1))


def _wire(message: AttributeValue, depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"a value is at most {_MAX_DEPTH} levels deep")
    kind = message.WhichOneof("value")
    match kind:
        case None:
            raise ValueError("no value is set")
        case "s" | "n" | "b" | "bool":
            return {kind.upper(): getattr(message, kind)}
        case "null":
            if not message.null:
                raise ValueError("null can only be true")
            return {"NULL": True}
        case "l":
            return {"L": [_wire(element, depth + 1) for element in message.l.values]}
        case "m":
            fields = message.m.fields
            return {"M": {name: _wire(fields[name], depth + 1) for name in fields}}
        case "ns":
            _check_members([parse_number(text) for text in message.ns.values])
            return {"NS": list(message.ns.values)}
        case _:
            members = list(getattr(message, kind).values)
            _check_members(members)
            return {kind.upper(): members}


def _check_members(members: Sequence[Hashable]) -> None:
    if not members:
        raise ValueError("a set has at least one member")
    if len(set(members)) < len(members):
        raise ValueError("a set has no member twice")
