"""A typed canonical encoding of frozen data, for fingerprints and cache keys.

Equal data has equal bytes, and different data has different bytes: every element includes its type
and its length.

A dataclass declares its tags: `CANONICAL_TAGS = ("query", {"table": 1, "condition": 2})`. The
encoding has these tags and no Python name, so classes and fields can be renamed. A field without a
tag is refused, unless it takes no part in equality. A field with its default value is left out, so
a field added later does not change earlier encodings. Tags are never reused.

The encoding is a compatibility contract: replicas of two releases read each other's page tokens.
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
    """Return the canonical bytes of plain data, or of dataclasses of plain data.

    Plain data are None, bool, int, str, bytes, Decimal, tuples, lists, frozen sets and mappings.
    Raises TypeError for anything else.
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
        tag, fields = _tags_of(data.__class__)
        parts = [tag]
        for name, default, number in fields:
            value = getattr(data, name)
            if value is not default and value != default:
                parts += (number, encode(value))
        return _framed(b"d", b"".join(parts))
    raise TypeError(f"{type(data).__name__} has no canonical encoding")


@cache
def _tags_of(kind: Any) -> tuple[bytes, tuple[tuple[str, object, bytes], ...]]:
    """Return a dataclass's encoded tag, and the name, default and encoded tag of each field."""
    tag, numbers = kind.CANONICAL_TAGS
    fields = [field for field in dataclasses.fields(kind) if field.compare]
    if numbers.keys() != {field.name for field in fields}:
        raise TypeError(f"{kind.__name__} has no canonical encoding: its tags are not its fields")
    return encode(tag), tuple(
        (field.name, _default(field), encode(numbers[field.name])) for field in fields
    )


def _default(field: dataclasses.Field[Any]) -> object:
    """Return a field's default value, or MISSING, which equals no value."""
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def digest(data: object) -> bytes:
    """Return the SHA-256 of the canonical bytes, 32 bytes."""
    return hashlib.sha256(encode(data)).digest()


def _framed(tag: bytes, body: bytes) -> bytes:
    return b"%b%d:%b" % (tag, len(body), body)
