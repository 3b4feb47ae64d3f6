r"""JSON to and from bytes, whatever its texts hold.

A JSON text may hold half of a surrogate pair, `"\ud83d"`, which is no character. DynamoDB Local
stores such texts. orjson refuses them, so Python's own slower parser takes over where it does.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(body: bytes | bytearray | memoryview | str) -> Any:
    """Return what JSON says; raise ValueError if it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(bytes(body) if isinstance(body, memoryview) else body)


def dumps(data: Any) -> bytes:
    """Return the JSON of plain data, names in order."""
    try:
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
