"""Decodes `Item` messages to items as DynamoDB sends them, which conditions are evaluated on."""

from __future__ import annotations

from typing import Any, Final

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item

# The types by the contract's fields.
_TYPES: Final = {name: name.upper() for name in AttributeValue.DESCRIPTOR.fields_by_name}


def decode_item(message: bytes) -> dict[str, Any]:
    """Return the item of a message that `exact_message` has made.

    Raises ValueError for a value of a type that the contract does not have.
    """
    return {name: _wire(value) for name, value in Item.FromString(message).attributes.items()}


def _wire(value: AttributeValue) -> dict[str, Any]:
    field = value.WhichOneof("value")
    if field is None:
        raise ValueError("a value has a type that the contract does not have")
    data: Any = getattr(value, field)
    match field:
        case "ss" | "ns" | "bs":
            data = list(data.values)
        case "l":
            data = [_wire(element) for element in data.values]
        case "m":
            data = {name: _wire(member) for name, member in data.fields.items()}
    return {_TYPES[field]: data}
