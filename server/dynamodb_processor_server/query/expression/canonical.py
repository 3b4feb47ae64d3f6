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
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cache
from operator import itemgetter
from types import NoneType
from typing import Any, Final

from dynamodb_processor_server.query.expression.values import number_text, utf8


def encode(data: object) -> bytes:
    """Return the canonical bytes of plain data, or of dataclasses of plain data.

    Plain data are None, bool, int, str, bytes, Decimal, tuples, lists, frozen sets and mappings.
    Raises TypeError for anything else.
    """
    return _encoder_of(data.__class__)(data)  # type: ignore[arg-type]  # a type is hashable


def _dataclass(data: Any) -> bytes:
    tag, fields = _tags_of(data.__class__)
    parts = [tag]
    for name, default, number in fields:
        value = getattr(data, name)
        if value is not default and value != default:
            parts += (number, encode(value))
    return framed(b"d", b"".join(parts))


def _sequence(data: Iterable[object]) -> bytes:
    return framed(b"t", b"".join(map(encode, data)))


def _mapping(data: Mapping[object, object]) -> bytes:
    pairs = sorted((encode(key), encode(value)) for key, value in data.items())
    return framed(b"m", b"".join(part for pair in pairs for part in pair))


# The first type that an object has counts: a bool is an int too.
_ENCODERS: Final[Mapping[type, Callable[[Any], bytes]]] = {
    NoneType: lambda _: b"0:",
    bool: lambda data: b"?1:1" if data else b"?1:0",
    int: lambda data: framed(b"i", str(data).encode()),
    str: lambda data: framed(b"s", utf8(data)),
    bytes: lambda data: framed(b"b", data),
    Decimal: lambda data: framed(b"n", number_text(data).encode()),
    tuple: _sequence,
    list: _sequence,
    frozenset: lambda data: framed(b"f", b"".join(sorted(map(encode, data)))),
    Mapping: _mapping,
}


@cache
def _encoder_of(kind: type) -> Callable[[Any], bytes]:
    """Return the function that encodes objects of a type."""
    for base, encoder in _ENCODERS.items():
        if issubclass(kind, base):
            return encoder
    if dataclasses.is_dataclass(kind):
        return _dataclass
    raise TypeError(f"{kind.__name__} has no canonical encoding")


@dataclasses.dataclass(frozen=True, slots=True)
class Frame:
    """An encoding that lacks some data: parts that are encoded, frames, and the lacking data."""

    tag: bytes
    parts: tuple[object, ...]

    def encoding(self, *parts: bytes) -> bytes:
        """Return the encoding with the encodings of all parts."""
        return framed(self.tag, b"".join(parts))


def outline(data: object, is_lacking: Callable[[object], bool]) -> object:
    """Return the encoding of data, if it lacks nothing; else a frame, or the lacking data itself.

    A mapping must not lack a key, nor a frozen set a member, because these are sorted.
    """
    if is_lacking(data):
        return data
    match data:
        case tuple() | list():
            return _frame(b"t", [outline(part, is_lacking) for part in data])
        case Mapping():
            pairs = sorted(((encode(key), value) for key, value in data.items()), key=itemgetter(0))
            parts = [part for key, value in pairs for part in (key, outline(value, is_lacking))]
            return _frame(b"m", parts)
    if not dataclasses.is_dataclass(data):
        return encode(data)
    tag, fields = _tags_of(data.__class__)
    parts = [tag]
    for name, default, number in fields:
        value = getattr(data, name)
        if value is not default and value != default:
            parts += (number, outline(value, is_lacking))
    return _frame(b"d", parts)


def _frame(tag: bytes, parts: Iterable[object]) -> object:
    """Return a frame in which neighbours that are encoded are one part."""
    joined: list[object] = []
    for part in parts:
        if joined and isinstance(part, bytes) and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    if all(isinstance(part, bytes) for part in joined):
        return framed(tag, b"".join(joined))  # type: ignore[arg-type]  # as just checked
    return Frame(tag, tuple(joined))


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


def framed(tag: bytes, body: bytes) -> bytes:
    """Return a body with its tag and length."""
    return b"%b%d:%b" % (tag, len(body), body)
