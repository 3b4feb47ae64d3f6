"""Counts the fields of a message before it is decoded.

A decoded field takes up to 150 bytes of memory, so that 1 MiB of small fields takes 36 MB when it
is decoded. Counting stops at the bound, and takes about 0.4 microseconds a field.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor

# By field number, the fields of the nested message; None where a field is no message.
Fields = dict[int, "Fields | None"]

_VARINT: Final = 0
_FIXED64: Final = 1
_DELIMITED: Final = 2
_FIXED32: Final = 5


def fields_of(message: Descriptor, known: dict[str, Fields] | None = None) -> Fields:
    """Return the fields of a message type for `has_more_fields`; a type may contain itself."""
    known = {} if known is None else known
    fields = known.get(message.full_name)
    if fields is None:
        fields = known[message.full_name] = {}
        for field in message.fields:
            inside: Any = field.message_type
            fields[field.number] = None if inside is None else fields_of(inside, known)
    return fields


def has_more_fields(data: bytes, fields: Fields, limit: int) -> bool:
    """Return whether a message has more than `limit` fields, those of nested messages included.

    For bytes that are no message the result may be either: decoding them reports the error.
    """
    try:
        return _count(data, fields, limit) > limit
    except IndexError:
        return False


def _count(data: bytes, fields: Fields, limit: int) -> int:
    """Return the number of fields, or `limit` + 1 if there are more than `limit`."""
    outer: list[tuple[int, Fields | None]] = []
    inside: Fields | None = fields
    at, end, count = 0, len(data), 0
    while count <= limit:
        while at >= end:
            if not outer:
                return count
            end, inside = outer.pop()
        tag, at = _varint(data, at)
        count += 1
        kind = tag & 7
        if kind == _DELIMITED:
            length, at = _varint(data, at)
            known = None if inside is None else inside.get(tag >> 3)
            if known is None:
                at += length
            else:
                outer.append((end, inside))
                end, inside = at + length, known
        elif kind == _VARINT:
            while data[at] > 127:
                at += 1
            at += 1
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
    return count


def _varint(data: bytes, at: int) -> tuple[int, int]:
    byte = data[at]
    if byte < 128:
        return byte, at + 1
    number, shift = byte & 127, 7
    while byte > 127 and shift < 70:
        at += 1
        byte = data[at]
        number |= (byte & 127) << shift
        shift += 7
    return number, at + 1
