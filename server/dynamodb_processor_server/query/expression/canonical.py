"""A typed canonical encoding of frozen data, for fingerprints and cache keys.

Equal data gives equal bytes and different data different bytes: every element carries its type and
its length. Dataclasses are walked through `dataclasses.fields`, so a field added to a model is part
of the encoding without anybody's doing; fields that do not take part in equality are left out.

The encoding is a compatibility contract (tokens sealed by one release are opened by another):
`tests/cases/fingerprints.json` holds golden vectors.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any

from dynamodb_processor_server.query.expression.values import number_text, utf8


def encode(data: object) -> bytes:  # noqa: C901 - one flat table of types
    """Return the canonical bytes of plain data and dataclasses of such.

    Plain are None, bool, int, str, bytes, Decimal, tuples, lists, frozen sets and mappings. Raise
    TypeError for anything else.
    """
    match data:
        case None:
            return b"0:"
        case bool():
            return b"?1:1" if data else b"?1:0"
        case int():
            return _framed(b"i", str(data).encode())
        case str():
            return _framed(b"s", utf8(data))
        case bytes():
            return _framed(b"b", data)
        case Decimal():
            return _framed(b"n", number_text(data).encode())
        case tuple() | list():
            return _framed(b"t", b"".join(map(encode, data)))
        case frozenset():
            return _framed(b"f", b"".join(sorted(map(encode, data))))
        case Mapping():
            pairs = sorted((encode(key), encode(value)) for key, value in data.items())
            return _framed(b"m", b"".join(part for pair in pairs for part in pair))
    if dataclasses.is_dataclass(data):
        name, fields = _layout(data.__class__)
        parts = [name]
        for field, encoded in fields:
            parts += (encoded, encode(getattr(data, field)))
        return _framed(b"d", b"".join(parts))
    raise TypeError(f"{type(data).__name__} has no canonical encoding")


@cache
def _layout(kind: Any) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """Return a dataclass's encoded name, and its fields with theirs."""
    fields = [field.name for field in dataclasses.fields(kind) if field.compare]
    return encode(kind.__name__), tuple((name, encode(name)) for name in fields)


def digest(data: object) -> bytes:
    """Return the SHA-256 of the canonical bytes: 32 bytes."""
    return hashlib.sha256(encode(data)).digest()


def _framed(tag: bytes, body: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(body), body)
