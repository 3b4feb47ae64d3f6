"""The affinity key of a read: equal reads, and reads of one partition, have the same.

Proxies that balance by the header `x-affinity-key` send them to the same replica, which then has
them in its cache. docs/reference/affinity.md defines the key; tests/cases/affinity.json has vectors
for clients in other languages.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

from google.protobuf.message import Message

from dynamodb_processor.v1.catalog_service_pb2 import GetTableResponse, KeySchema
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    ExplainQueryRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor.v1.value_pb2 import Item as ItemMessage
from dynamodb_processor_client.errors import QueryError
from dynamodb_processor_client.trace_context import Metadata

# FNV-1a with 64 bits: http://www.isthe.com/chongo/tech/comp/fnv/
_OFFSET_BASIS: Final = 0xCBF29CE484222325
_PRIME: Final = 0x100000001B3
_MASK: Final = 0xFFFFFFFFFFFFFFFF
# Bytes that are hashed: a longer text costs time, and tells reads apart no better.
_MAX_BYTES: Final = 4_096

_NUMBER: Final = re.compile(r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?")
_TOKEN: Final = re.compile(
    r"""[ \t\r\n\f]*(?:
      (?P<quoted>"(?:[^"]|"")+")
    | (?P<string>'(?:[^']|'')*')
    | (?P<parameter>:[A-Za-z0-9_]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<number>[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)
    | (?P<sign><=|>=|<>|[^ \t\r\n\f])
    )""",
    re.VERBOSE | re.DOTALL,
)
_Token: TypeAlias = tuple[str, str]
_QUERIES: Final = (QueryRequest, StreamQueryRequest, CountItemsRequest, ExplainQueryRequest)

#: The header of the affinity key.
AFFINITY_HEADER: Final = "x-affinity-key"
#: Returns the description of a table.
DescribeTable: TypeAlias = Callable[[str], Awaitable[GetTableResponse]]


class AffinityHeader:
    """The header of each read, and the partition keys of the tables that were read so far."""

    def __init__(self) -> None:
        self._partitions: dict[str, str | None] = {}

    async def metadata(self, request: Message, describe: DescribeTable) -> Metadata:
        """Return the metadata of a call; none for a request that reads no items.

        `describe` is called once for each table. If it fails, the whole request is hashed, and the
        next call tries again.
        """
        if isinstance(request, _QUERIES):
            table = request.query.table
            text = query_text(request.query, await self._partition(table, describe))
        elif isinstance(request, BatchGetItemsRequest) and request.keys:
            table = request.table
            text = get_text(request.keys[0], await self._partition(table, describe))
        else:
            return ()
        return ((AFFINITY_HEADER, affinity_key(table, text)),)

    async def _partition(self, table: str, describe: DescribeTable) -> str | None:
        if table not in self._partitions:
            try:
                response = await describe(table)
            except QueryError:
                return None
            self._partitions[table] = partition_attribute(response.table.key)
        return self._partitions[table]


def affinity_key(table: str, text: str) -> str:
    """Return the hash of a table's name and a text: 16 lower-case hexadecimal digits."""
    key = _OFFSET_BASIS
    for byte in f"{table}\0{text}".encode()[:_MAX_BYTES]:
        key = (key ^ byte) * _PRIME & _MASK
    return f"{key:016x}"


def partition_attribute(key: KeySchema) -> str | None:
    """Return the name of a table's partition key; `None` if callers see only its parts."""
    names = [attribute.name for attribute in key.partition]
    return names[0] if len(names) == 1 and names[0] else None


def query_text(query: QuerySpec, partition: str | None) -> str:
    """Return the text that identifies the partition of a query, or else the whole query."""
    value = None if partition is None else _fixed_value(query, partition)
    if value is not None:
        return value_text(value)
    return "\0".join([query.expression, *_named_texts(query.parameters)])


def get_text(key: ItemMessage, partition: str | None) -> str:
    """Return the text that identifies the partition of a primary key, or else the whole key."""
    if partition is not None and partition in key.attributes:
        return value_text(key.attributes[partition])
    return "\0".join(_named_texts(key.attributes))


def value_text(value: AttributeValue) -> str:
    """Return the canonical text of a value; equal values have the same."""
    kind = value.WhichOneof("value")
    match kind:
        case "s":
            return f"S:{value.s}"
        case "n":
            return f"N:{number_text(value.n)}"
        case "b":
            return f"B:{value.b.hex()}"
        case "bool":
            return f"BOOL:{'true' if value.bool else 'false'}"
        case "ss":
            return _set_text("SS", value.ss.values)
        case "ns":
            return _set_text("NS", map(number_text, value.ns.values))
        case "bs":
            return _set_text("BS", (member.hex() for member in value.bs.values))
        case "l":
            return f"L:[{','.join(map(value_text, value.l.values))}]"
        case "m":
            fields = value.m.fields
            return f"M:{{{','.join(f'{n}={value_text(fields[n])}' for n in sorted(fields))}}}"
    return "NULL:"


def number_text(text: str) -> str:
    """Return a number as its significant digits and a power of ten: `1.50` becomes `15E-1`."""
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    sign, whole, fraction, bare_fraction, exponent = match.groups()
    fraction = fraction or bare_fraction or ""
    digits = ((whole or "") + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0E0"
    power = int(exponent or 0) - len(fraction) + len(digits) - len(significant)
    return f"{'-' if sign == '-' else ''}{significant}E{power}"


def _set_text(kind: str, members: Iterable[str]) -> str:
    return f"{kind}:[{','.join(sorted(members))}]"


def _named_texts(values: Mapping[str, AttributeValue]) -> Iterator[str]:
    for name in sorted(values):
        yield name
        yield value_text(values[name])


def _fixed_value(query: QuerySpec, partition: str) -> AttributeValue | None:
    """Return the value that an expression requires of an attribute by `=`, if it surely does."""
    for conjunct in _conjuncts(query.expression):
        if len(conjunct) != 3 or conjunct[1] != ("sign", "="):
            continue
        for attribute, operand in (conjunct[::2], conjunct[::-2]):
            if _name(attribute) == partition:
                value = _value(operand, query)
                if value is not None:
                    return value
    return None


def _conjuncts(expression: str) -> list[list[_Token]]:
    """Return the parts that an expression joins by AND, outside of parentheses; none with OR."""
    conjuncts: list[list[_Token]] = [[]]
    depth = 0
    for kind, text in _tokens(expression):
        if kind == "sign":
            depth += {"(": 1, ")": -1}.get(text, 0)
        word = text.upper() if kind == "name" and not depth else ""
        if word == "OR":
            return []
        if word == "AND":
            conjuncts.append([])
        else:
            conjuncts[-1].append((kind, text))
    return conjuncts


def _tokens(expression: str) -> Iterator[_Token]:
    for match in _TOKEN.finditer(expression):
        kind = match.lastgroup
        assert kind is not None
        yield kind, match[kind]


def _name(token: _Token) -> str | None:
    kind, text = token
    if kind == "quoted":
        return text[1:-1].replace('""', '"')
    return text if kind == "name" else None


def _value(token: _Token, query: QuerySpec) -> AttributeValue | None:
    kind, text = token
    if kind == "string":
        return AttributeValue(s=text[1:-1].replace("''", "'"))
    if kind == "number":
        return AttributeValue(n=text)
    name = text[1:]
    if kind == "parameter" and name in query.parameters:
        value = query.parameters[name]
        return value if value.WhichOneof("value") in ("s", "n", "b") else None
    return None
