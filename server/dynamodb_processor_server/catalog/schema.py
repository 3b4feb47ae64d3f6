"""Tables as DynamoDB describes them: keys and the access paths that can answer a query."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dynamodb_processor_server.catalog.declaration import TableDeclaration

BASE_TABLE = "@table"  # what callers write in `index` to mean no index


class PathKind(Enum):
    """What an access path reads."""

    TABLE = "table"
    LOCAL = "local index"
    GLOBAL = "global index"


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key; `type` is S, N or B."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class KeySchema:
    """A key's attributes in order: up to four of each in a global index, else 1 and 0 or 1."""

    partition: tuple[KeyAttribute, ...]
    sort: tuple[KeyAttribute, ...]

    @property
    def attributes(self) -> tuple[KeyAttribute, ...]:
        """Partition attributes, then sort attributes."""
        return self.partition + self.sort


@dataclass(frozen=True, slots=True)
class AccessPath:
    """The base table or one secondary index.

    `index` is None for the base table. `projected` is None when the path holds every attribute.
    `position` names the attributes that say where a read stands on this path: its own key and the
    table's.
    """

    index: str | None
    kind: PathKind
    key: KeySchema
    projected: frozenset[str] | None
    position: tuple[str, ...]

    @property
    def label(self) -> str:
        """The name to use in messages and in `QuerySpec.index`."""
        return self.index or BASE_TABLE


@dataclass(frozen=True, slots=True)
class TableSchema:
    """A table's access paths; the base table is the first."""

    name: str
    paths: tuple[AccessPath, ...]

    @property
    def base(self) -> AccessPath:
        """The base table."""
        return self.paths[0]

    @property
    def key_types(self) -> dict[str, str]:
        """The types, by name, of all attributes that are part of a key."""
        return {a.name: a.type for path in self.paths for a in path.key.attributes}

    def path(self, label: str) -> AccessPath | None:
        """Return the path that `label` names (an index, or "@table"), or None."""
        return next((path for path in self.paths if path.label == label), None)


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the catalog: what the operator declared and what DynamoDB describes."""

    name: str
    declaration: TableDeclaration
    schema: TableSchema

    def may_show(self, attribute: str) -> bool:
        """Return whether callers may name and see an attribute."""
        return not self.declaration.attributes or attribute in self.declaration.attributes


def parse_description(description: Mapping[str, Any]) -> TableSchema:
    """Return the schema that a DescribeTable answer's `Table` describes.

    Indexes that are not yet, or no longer, readable are left out.
    """
    types = {d["AttributeName"]: d["AttributeType"] for d in description["AttributeDefinitions"]}
    key = _key_schema(description["KeySchema"], types)
    names = tuple(attribute.name for attribute in key.attributes)
    paths = [AccessPath(None, PathKind.TABLE, key, None, names)]
    for kind, field in (
        (PathKind.LOCAL, "LocalSecondaryIndexes"),
        (PathKind.GLOBAL, "GlobalSecondaryIndexes"),
    ):
        for index in sorted(description.get(field, ()), key=lambda index: index["IndexName"]):
            if index.get("IndexStatus", "ACTIVE") in _READABLE:
                paths.append(_index_path(index, kind, names, types))  # noqa: PERF401 - clearer so
    return TableSchema(description["TableName"], tuple(paths))


_READABLE = ("ACTIVE", "UPDATING")


def _index_path(
    index: Mapping[str, Any], kind: PathKind, table_key: Iterable[str], types: Mapping[str, str]
) -> AccessPath:
    key = _key_schema(index["KeySchema"], types)
    own = tuple(attribute.name for attribute in key.attributes)
    position = tuple(dict.fromkeys((*own, *table_key)))
    projection = index["Projection"]
    projected = None
    if projection["ProjectionType"] != "ALL":
        projected = frozenset(position).union(projection.get("NonKeyAttributes", ()))
    return AccessPath(index["IndexName"], kind, key, projected, position)


def _key_schema(elements: Iterable[Mapping[str, str]], types: Mapping[str, str]) -> KeySchema:
    attributes: dict[str, list[KeyAttribute]] = {"HASH": [], "RANGE": []}
    for element in elements:
        name = element["AttributeName"]
        attributes[element["KeyType"]].append(KeyAttribute(name, types[name]))
    return KeySchema(tuple(attributes["HASH"]), tuple(attributes["RANGE"]))
