"""The bytes of an item in the shared cache, before they are encrypted."""

from __future__ import annotations

import math
import struct
from typing import Final

from dynamodb_processor_server.cache.item_entry import ItemContent
from dynamodb_processor_server.cache.shared_items import ExpiringItem

# Read at, read until, expires, valid until; whether there is an item; the sequence
# number, which has at most 40 decimal digits; the length of the source.
_HEAD: Final = struct.Struct(">dddd?17sI")


def pack_item(item: ExpiringItem) -> bytes:
    """Return the bytes of an item."""
    content = item.content
    head = _HEAD.pack(
        content.read_at,
        content.read_until,
        item.expires,
        math.nan if content.valid_until is None else content.valid_until,
        content.message is not None,
        content.sequence.to_bytes(17, "big"),
        len(content.source),
    )
    return head + content.source + (content.message or b"")


def unpack_item(data: bytes) -> ExpiringItem:
    """Return the item of `pack_item`."""
    read_at, until, expires, valid, exists, sequence, length = _HEAD.unpack_from(data)
    middle = _HEAD.size + length
    content = ItemContent(
        message=data[middle:] if exists else None,
        source=data[_HEAD.size : middle],
        read_at=read_at,
        read_until=until,
        valid_until=None if math.isnan(valid) else valid,
        sequence=int.from_bytes(sequence, "big"),
    )
    return ExpiringItem(content, expires)
