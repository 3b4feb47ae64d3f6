r"""JSON to and from bytes, with strings that may hold halves of surrogate pairs.

Half of a surrogate pair, `"\ud83d"`, is valid in JSON but is no character. DynamoDB Local stores
such strings. orjson refuses them, so Python's own slower parser takes over then.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(body: bytes | bytearray | memoryview | str) -> Any:
    """Return the value of a JSON text; raise ValueError if it is invalid."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return json.loads(bytes(body) if isinstance(body, memoryview) else body)


def dumps(data: Any) -> bytes:
    """Return the JSON of plain data, with sorted names.

    orjson's result keeps the 4 KiB of its buffer for as long as it lives, so it is copied: a cursor
    of 100 bytes is held with each cached page.
    """
    try:
        return bytes(memoryview(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)))
    except orjson.JSONEncodeError:
        return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
