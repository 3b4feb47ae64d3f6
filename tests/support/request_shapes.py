"""Requests of every method that are as large, and as awkward to read, as callers can make them.

A shape is a recipe: a method, a message in its request, and the filling that gives the request so
many bytes. Hypothesis draws the recipes; those in `tests/cases/request_shapes.json` are kept and
tried again each time. Run as a script, this draws them anew:

    python -m tests.support.request_shapes
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from dynamodb_processor.v1 import (
    cache_service_pb2,
    catalog_service_pb2,
    query_service_pb2,
)
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item

SEEDS: Final = Path(__file__).parents[1] / "cases" / "request_shapes.json"
SIZES: Final = (16 * 1024, 1024 * 1024 - 4_096)
_COUNT: Final = 320
_LONGEST_PATH: Final = 7  # Messages inside one another, entries of maps included.
_TEXTS: Final = ("a", "1", "(", "'", '"', "a.", "é", " ", "NOT ", "a=1 AND ", "1,", "[0]")

_SERVICES: Final[tuple[Any, ...]] = (  # Descriptors, of which there are two types.
    query_service_pb2.DESCRIPTOR.services_by_name["QueryService"],
    catalog_service_pb2.DESCRIPTOR.services_by_name["CatalogService"],
    cache_service_pb2.DESCRIPTOR.services_by_name["CacheService"],
    health_pb2.DESCRIPTOR.services_by_name["Health"],
    reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"],
)


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the server."""

    path: str
    request: Descriptor
    client_streaming: bool
    server_streaming: bool


METHODS: Final[dict[str, Method]] = {
    method.name: Method(
        f"/{service.full_name}/{method.name}",
        method.input_type,
        method.client_streaming,
        method.server_streaming,
    )
    for service in _SERVICES
    for method in service.methods
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A recipe for a request of `method` with about `size` bytes.

    `path` has the numbers of the fields that lead to the filled message; `fill` is one of those
    below, `field` the number of the repeated field, and `text` the element of a text.
    """

    method: str
    path: tuple[int, ...]
    fill: str
    field: int
    text: str
    size: int

    @property
    def label(self) -> str:
        """The shape in short."""
        path = ".".join(map(str, (*self.path, self.field)))
        text = f" {self.text!r}" if self.fill in ("long", "numerous texts") else ""
        return f"{self.method} {path} {self.fill}{text}, {self.size // 1024} KiB"

    def request(self) -> bytes:
        """Return the request: a valid one whose message at `path` is filled."""
        filling = _FILLS[self.fill](self, self.size - 10 * len(self.path))
        for number, into_map in reversed(_steps(METHODS[self.method].request, self.path)):
            filling = _field(number, _field(1, b"p") + _field(2, filling) if into_map else filling)
        return _good_request(self.method) + filling


def _good_request(method: str) -> bytes:
    """Return a request of the method that is answered."""
    spec = QuerySpec(
        table="events",
        expression="user_id = 'u-1' AND note = :p",
        parameters={"p": AttributeValue(s="x")},
    )
    key = Item(attributes={"user_id": AttributeValue(s="u-1"), "seq": AttributeValue(n="1")})
    request: Any
    match method:
        case "ExplainQuery":
            request = query_service_pb2.ExplainQueryRequest(query=spec)
        case "Query" | "StreamQuery" | "CountItems":
            request = query_service_pb2.QueryRequest(query=spec)
        case "BatchGetItems":
            request = query_service_pb2.BatchGetItemsRequest(table="events", keys=[key])
        case "GetTable":
            request = catalog_service_pb2.GetTableRequest(table="events")
        case "InvalidateCache":
            request = cache_service_pb2.InvalidateCacheRequest(table="events", partition_key=key)
        case _:
            return b""
    return request.SerializeToString()  # type: ignore[no-any-return]


# The wire format, by hand: no library writes many of the awkward requests.


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    written.append(number)
    return bytes(written)


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _many(room: int, make: Callable[[int], bytes]) -> bytes:
    parts: list[bytes] = []
    while room > 0:
        part = make(len(parts))
        parts.append(part)
        room -= len(part)
    return b"".join(parts)


_NULL: Final = AttributeValue(null=True).SerializeToString()


def _empty(shape: Shape, room: int) -> bytes:
    one = _field(shape.field, b"")
    return one * (room // len(one))


def _nulls(shape: Shape, room: int) -> bytes:
    one = _field(shape.field, _NULL)
    return one * (room // len(one))


def _entries(shape: Shape, room: int) -> bytes:
    """Entries of a map, each under a name of its own; elsewhere messages of two fields."""
    return _many(room, lambda n: _field(shape.field, _field(1, b"p%d" % n) + _field(2, _NULL)))


def _texts(shape: Shape, room: int) -> bytes:
    return _many(room, lambda n: _field(shape.field, f"{shape.text}{n}".encode()))


def _long(shape: Shape, room: int) -> bytes:
    text = shape.text.encode()
    return _field(shape.field, text * (room // len(text)))


def _long_in_pieces(shape: Shape, room: int) -> bytes:
    text = shape.text.encode()
    one = _field(shape.field, text * (2_000 // len(text)))
    return one * (room // len(one))


def _numbers(shape: Shape, room: int) -> bytes:
    one = _varint(shape.field << 3) + b"\x01"
    return one * (room // len(one))


def _unknown(shape: Shape, room: int) -> bytes:
    one = _varint(1_000 << 3) + b"\x01"
    return one * (room // len(one))


def _many_unknown(shape: Shape, room: int) -> bytes:
    return _many(room, lambda n: _varint((1_000 + n) << 3) + b"\x01")


def _long_unknown(shape: Shape, room: int) -> bytes:
    return _field(1_000, b"x" * room)


def _groups(shape: Shape, room: int) -> bytes:
    one = _varint(1_000 << 3 | 3) + _varint(1_000 << 3 | 4)
    return one * (room // len(one))


def _nested(shape: Shape, room: int) -> bytes:
    """Lists in lists, twelve levels, of which the innermost one is long."""
    element = _field(1, _NULL)
    inner = element * (room // len(element))
    for _ in range(12):
        inner = _field(1, _field(9, inner))
    return _field(shape.field, _field(9, inner))


def _wide_nested(shape: Shape, room: int) -> bytes:
    """Many values, each of which is a few levels deep."""
    one = _NULL
    for _ in range(8):
        one = _field(9, _field(1, one))
    one = _field(shape.field, one)
    return one * (room // len(one))


_FILLS: Final[dict[str, Callable[[Shape, int], bytes]]] = {
    "empty": _empty,
    "nulls": _nulls,
    "entries": _entries,
    "numerous texts": _texts,
    "long": _long,
    "long in pieces": _long_in_pieces,
    "numbers": _numbers,
    "unknown": _unknown,
    "many unknown": _many_unknown,
    "long unknown": _long_unknown,
    "unknown groups": _groups,
    "nested": _nested,
    "wide nested": _wide_nested,
}


def _steps(message: Descriptor, path: Sequence[int]) -> list[tuple[int, bool]]:
    """Return the fields of the path, each with whether it is a map."""
    steps: list[tuple[int, bool]] = []
    inside: Any
    for number in path:
        field = message.fields_by_number[number]
        inside = field.message_type
        is_map = inside.GetOptions().map_entry
        steps.append((number, is_map))
        message = inside.fields_by_name["value"].message_type if is_map else inside
    return steps


@cache
def _paths(message: Descriptor, depth: int = 0) -> tuple[tuple[tuple[int, ...], int], ...]:
    """Return every path in a message, each with the number of one field there."""
    found: list[tuple[tuple[int, ...], int]] = []
    for field in message.fields:
        found.append(((), field.number))
        for path, number in _below(field, depth):
            found.append(((field.number, *path), number))
    return tuple(found) or (((), 1),)


def _below(field: FieldDescriptor, depth: int) -> Iterator[tuple[tuple[int, ...], int]]:
    inside: Any = field.message_type
    if inside is not None and inside.GetOptions().map_entry:
        inside = inside.fields_by_name["value"].message_type
    if inside is not None and depth < _LONGEST_PATH - 1:
        yield from _paths(inside, depth + 1)


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    """Draw a recipe: any field of any method, filled in any way."""
    method = draw(st.sampled_from(sorted(METHODS)))
    path, field = draw(st.sampled_from(_paths(METHODS[method].request)))
    return Shape(
        method,
        path,
        draw(st.sampled_from(sorted(_FILLS))),
        field,
        draw(st.sampled_from(_TEXTS)),
        draw(st.sampled_from(SIZES)),
    )


def kept_shapes() -> list[Shape]:
    """Return the recipes that are kept."""
    return [
        Shape(**(entry | {"path": tuple(entry["path"])}))
        for entry in json.loads(SEEDS.read_text("utf-8"))
    ]


def _fixed() -> Iterator[Shape]:
    """Yield the fixed shapes: every field of the first messages, filled in full."""
    for name, method in METHODS.items():
        for path, field in _paths(method.request):
            if len(path) > 1:
                continue
            fill = "numerous texts" if len(path) == 1 else "long in pieces"
            yield Shape(name, path, fill, field, "a", SIZES[-1])
        yield Shape(name, (), "unknown", 1, "a", SIZES[-1])
    for name in ("Query", "StreamQuery", "CountItems", "ExplainQuery"):
        for fill in ("empty", "nulls", "entries", "numerous texts", "nested"):
            yield Shape(name, (1, 4, 9), fill, 1, "a", SIZES[-1])
            yield Shape(name, (1, 4, 10), fill, 1, "a", SIZES[-1])
            yield Shape(name, (1,), fill, 4, "a", SIZES[-1])
        for path in ((1,), (1, 4), (1, 4, 9), (4,), (5,), (6,)):
            if name != "ExplainQuery" or path[0] == 1:
                if name == "CountItems" and path[0] == 6:
                    continue
                yield Shape(name, path, "many unknown", 1, "a", SIZES[-1])
        for text in ("a.", "(", "a=1 AND ", "1,", '"'):
            yield Shape(name, (1,), "long in pieces", 7, text, SIZES[-1])
            yield Shape(name, (1,), "long", 3, text, 8_192)


def main() -> None:
    """Write the recipes that are kept: the fixed ones, and others that Hypothesis draws."""
    found = dict.fromkeys(_fixed())

    @settings(
        max_examples=10 * _COUNT,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(shapes())
    def collect(shape: Shape) -> None:
        if len(found) < _COUNT:
            found.setdefault(shape)

    collect()
    lines = ",\n".join(f" {json.dumps(asdict(shape), ensure_ascii=False)}" for shape in found)
    SEEDS.write_text(f"[\n{lines}\n]\n", "utf-8")
    print(f"{len(found)} shapes")


if __name__ == "__main__":
    main()
