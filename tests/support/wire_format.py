"""Protobuf's wire format, read field by field against descriptors.

Google's parsers merge the halves of a message field that occurs twice, and others keep the second
only or refuse the message. So this module compares bytes, and not one parser's result.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_FIXED32: Final = 5
_WIRE_TYPES: Final = {
    FieldDescriptor.TYPE_DOUBLE: _FIXED64,
    FieldDescriptor.TYPE_FIXED64: _FIXED64,
    FieldDescriptor.TYPE_SFIXED64: _FIXED64,
    FieldDescriptor.TYPE_FLOAT: _FIXED32,
    FieldDescriptor.TYPE_FIXED32: _FIXED32,
    FieldDescriptor.TYPE_SFIXED32: _FIXED32,
    FieldDescriptor.TYPE_STRING: _DELIMITED,
    FieldDescriptor.TYPE_BYTES: _DELIMITED,
    FieldDescriptor.TYPE_MESSAGE: _DELIMITED,
}


def fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield number, wire type and content of each field, in the order of the bytes.

    Raises ValueError for bytes that are no message.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, wire_type = tag >> 3, tag & 7
        match wire_type:
            case 0:
                _, end = _varint(data, at)
            case 1:
                end = at + 8
            case 2:
                length, at = _varint(data, at)
                end = at + length
            case 5:
                end = at + 4
            case _:
                raise ValueError(f"wire type {wire_type} at byte {at}")
        if end > len(data):
            raise ValueError(f"field {number} ends behind the message")
        yield number, wire_type, data[at:end]
        at = end


def oddities(data: bytes, descriptor: Descriptor) -> list[str]:
    """Return the oddities of a message, at any depth, that a strict parser would refuse.

    That is a field that is not repeated and occurs twice, two fields of one oneof, a field that the
    contract does not have, and one of another wire type.
    """
    return list(_oddities(data, descriptor, descriptor.name))


def _oddities(data: bytes, descriptor: Descriptor, path: str) -> Iterator[str]:
    seen: set[str] = set()
    for number, wire_type, content in fields(data):
        field = descriptor.fields_by_number.get(number)
        if field is None:
            yield f"{path} has field {number}, which the contract does not have"
            continue
        below = f"{path}.{field.name}"
        packed = field.is_repeated and wire_type == _DELIMITED
        if wire_type != _WIRE_TYPES.get(field.type, _VARINT) and not packed:
            yield f"{below} has wire type {wire_type}"
        if not field.is_repeated:
            # The fields of a oneof stand for one another.
            name = field.containing_oneof.name if field.containing_oneof else field.name
            if name in seen:
                yield f"{below} occurs twice"
            seen.add(name)
        if field.message_type is not None:
            yield from _oddities(content, field.message_type, below)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data):
            raise ValueError("a number ends behind the message")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
