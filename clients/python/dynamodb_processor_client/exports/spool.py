"""Items in a file before their columns are known: each as its message, after its length."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO, Final

from google.protobuf.message import DecodeError

from dynamodb_processor.v1.value_pb2 import Item as ItemMessage
from dynamodb_processor_client.values import Item, decode_item, encode

_LENGTH: Final = struct.Struct(">I")


class SpoolError(Exception):
    """A file has not the items that were written into it."""


def frames(items: Iterable[Item]) -> bytes:
    """Return the bytes for items, which `spooled` reads again with the same types and digits."""
    parts: list[bytes] = []
    for item in items:
        values = {name: encode(value) for name, value in item.items()}
        message = ItemMessage(attributes=values).SerializeToString()
        parts += (_LENGTH.pack(len(message)), message)
    return b"".join(parts)


def spooled(file: BinaryIO, size: int) -> Iterator[tuple[Item, int]]:
    """Yield the items in the first `size` bytes of a file, each with its own size in bytes.

    Raises:
        SpoolError: The bytes are no whole items.
    """
    file.seek(0)
    left = size
    while left:
        head = file.read(_LENGTH.size)
        length = _LENGTH.unpack(head)[0] if len(head) == _LENGTH.size else -1
        message = file.read(length) if 0 <= length <= left - _LENGTH.size else b""
        left -= _LENGTH.size + length
        if length != len(message):
            raise SpoolError("it has no whole items")
        try:
            yield decode_item(ItemMessage.FromString(message)), length
        except DecodeError:
            raise SpoolError("it has an item that cannot be read") from None


def columns_of(items: Iterable[Item], leading: Iterable[str] = ()) -> list[str]:
    """Return the names of all attributes: the ones in `leading` first, the others by name."""
    found: set[str] = set()
    for item in items:
        found.update(item)
    first = [name for name in dict.fromkeys(leading) if name in found]
    return [*first, *sorted(found.difference(first))]
