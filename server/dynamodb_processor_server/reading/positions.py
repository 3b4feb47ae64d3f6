"""Positions: DynamoDB's start keys as bytes, and back.

The bytes are JSON of a list with one key per partition being read, in DynamoDB's own wire form
(binary in base64). They are part of page tokens and thus a compatibility contract.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from dynamodb_processor_server.query.values import WireItem
from dynamodb_processor_server.reading.port import Position


def encode_position(key: WireItem) -> Position:
    """Return the position that a start key stands for."""
    wire = {
        name: {"B": base64.b64encode(value["B"]).decode()} if "B" in value else dict(value)
        for name, value in key.items()
    }
    return orjson.dumps([wire], option=orjson.OPT_SORT_KEYS)


def decode_position(position: Position) -> dict[str, Any] | None:
    """Return the start key of a position, None for the start."""
    if not position:
        return None
    (wire,) = orjson.loads(position)
    return {
        name: {"B": base64.b64decode(value["B"])} if "B" in value else value
        for name, value in wire.items()
    }


def key_of(item: WireItem, attributes: Iterable[str]) -> Mapping[str, Any]:
    """Return the start key that stands right behind an item on a path with these attributes."""
    return {name: item[name] for name in attributes}
