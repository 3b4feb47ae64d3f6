"""Positions: where each partition of a read stands, as bytes and back.

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


def encode_cursor(positions: Sequence[PartitionCursor]) -> Cursor:
    """Return the position that stands for where each partition stands."""
    return json_text.dumps([_encoded(position) for position in positions])


def decode_cursor(position: Cursor, partitions: int) -> list[PartitionCursor]:
    """Return where each of `partitions` stands."""
    if position == START:
        return [None] * partitions
    return [_decoded(entry) for entry in json_text.loads(position)]


def padded(position: Cursor, partitions: int) -> Cursor:
    """Return a position whose length does not tell how long the keys in it are.

    It is a multiple of a size that holds the keys of one partition whatever they are, short of a
    few kilobytes, and half a kilobyte for each further one. Spaces are no part of the JSON.
    """
    block = _FIRST_PARTITION_BYTES + _PARTITION_BYTES * (partitions - 1)
    return position.ljust(-(-len(position) // block) * block)


def unpadded(position: Cursor) -> Cursor:
    """Return a position as it was before `padded`."""
    return position.rstrip(b" ")


def key_of(item: WireItem, attributes: Iterable[str]) -> Mapping[str, Any]:
    """Return the start key that stands right behind an item on a path with these attributes."""
    return {name: item[name] for name in attributes}


def _encoded(position: PartitionCursor) -> Any:
    if position is None or position is EXHAUSTED:
        return None if position is None else True
    return {
        name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else dict(value)
        for name, value in position.items()
    }


def _decoded(entry: Any) -> PartitionCursor:
    if entry is None or entry is True:
        return None if entry is None else EXHAUSTED
    return {
        name: {"B": base64.b64decode(value["B"])} if "B" in value else value
        for name, value in entry.items()
    }
