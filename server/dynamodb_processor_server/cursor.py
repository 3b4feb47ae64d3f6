"""Cursors as bytes: the point in each partition at which a page begins.

The bytes are JSON of a list with one entry for each partition: DynamoDB's start key in its own wire
form (binary in base64), null for the start, true when there is nothing more. They are part of page
tokens and thus a compatibility contract.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, TypeAlias

from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import START, Cursor
from dynamodb_processor_server.runtime import json_text


class _Exhausted(Enum):
    EXHAUSTED = True


EXHAUSTED: Final = _Exhausted.EXHAUSTED
_FIRST_PARTITION_BYTES: Final = 4096
_PARTITION_BYTES: Final = 512
PartitionCursor: TypeAlias = Mapping[str, Any] | _Exhausted | None


def encode_cursor(partitions: Sequence[PartitionCursor]) -> Cursor:
    """Return the cursor of a read from those of its partitions."""
    return json_text.dumps([_encoded(cursor) for cursor in partitions])


def decode_cursor(cursor: Cursor, partitions: int) -> list[PartitionCursor]:
    """Return the cursors of that many partitions."""
    if cursor == START:
        return [None] * partitions
    return [_decoded(entry) for entry in json_text.loads(cursor)]


def padded(cursor: Cursor, partitions: int) -> Cursor:
    """Return a cursor whose length does not reveal the lengths of the keys in it.

    It is a multiple of a size that holds any keys of one partition, short of a few kilobytes, and
    half a kilobyte for each further one. Spaces are no part of the JSON.
    """
    block = _FIRST_PARTITION_BYTES + _PARTITION_BYTES * (partitions - 1)
    return cursor.ljust(-(-len(cursor) // block) * block)


def unpadded(cursor: Cursor) -> Cursor:
    """Return a cursor as it was before `padded`."""
    return cursor.rstrip(b" ")


def key_of(item: WireItem, attributes: Iterable[str]) -> Mapping[str, Any]:
    """Return the start key that follows an item on a path with these attributes."""
    return {name: item[name] for name in attributes}


def _encoded(cursor: PartitionCursor) -> Any:
    if cursor is None or cursor is EXHAUSTED:
        return None if cursor is None else True
    return {
        name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else dict(value)
        for name, value in cursor.items()
    }


def _decoded(entry: Any) -> PartitionCursor:
    if entry is None or entry is True:
        return None if entry is None else EXHAUSTED
    return {
        name: {"B": base64.b64decode(value["B"])} if "B" in value else value
        for name, value in entry.items()
    }
