"""Descriptions of the granted tables, with their keys and indexes."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from dynamodb_processor.v1 import catalog_service_pb2
from dynamodb_processor_client.pages import timedelta_of

_FIELD: Final = re.compile(r"\{([^{}]+)\}")  # of a template


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table of a listing: its name in queries, and its description in the catalog."""

    name: str
    description: str


class KeyType(enum.Enum):
    """The type of a key attribute."""

    UNKNOWN = 0
    """A type that this client does not know."""
    STRING = 1
    """Ordered by UTF-8 bytes."""
    NUMBER = 2
    """Ordered by value."""
    BINARY = 3
    """Ordered by unsigned bytes."""

    @classmethod
    def _missing_(cls, value: object) -> KeyType:
        return cls.UNKNOWN


class IndexKind(enum.Enum):
    """The kind of a secondary index."""

    UNKNOWN = 0
    """A kind that this client does not know."""
    LOCAL = 1
    """Shares the table's partition key; offers strongly consistent reads."""
    GLOBAL = 2
    """Has its own keys; offers eventually consistent reads only."""

    @classmethod
    def _missing_(cls, value: object) -> IndexKind:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key.

    Attributes:
        name: Its name; empty if queries name only the fields that it is composed of.
        type: Its type.
        template: The template that composes it of fields, such as `USER#{user_id}`; queries name
            the fields. Empty if there is none.
    """

    name: str
    type: KeyType
    template: str = ""


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The attributes of a key, in order; `sort` is empty without a sort key."""

    partition: tuple[KeyAttribute, ...]
    sort: tuple[KeyAttribute, ...]

    @classmethod
    def from_message(cls, key: catalog_service_pb2.KeySchema) -> KeySchema:
        """Return the key in a message."""
        return cls(partition=_attributes(key.partition), sort=_attributes(key.sort))


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index; `projected_attributes` is empty if the index has every attribute."""

    name: str
    kind: IndexKind
    key: KeySchema
    projects_all: bool
    projected_attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The description of a table for queries.

    Attributes:
        name: The name in queries.
        description: The description in the catalog; may be empty.
        key: The base table's key.
        indexes: The secondary indexes, by name.
        visible_attributes: Attributes that queries may name and results contain; empty means all.
        required_attributes: Attributes that every item has, according to the catalog.
        default_page_size: Items per page if the call has no page size.
        max_page_size: The largest page size.
        cache_ttl: Time for which pages stay cached; zero means that they are not cached.
        allow_scan: Whether conditions without a partition key are allowed.
        timestamp_attributes: Attributes that are RFC 3339 text in queries and results, in any
            stored form.
        time_to_live_attribute: Attribute with the time after which an item is left out; `None` if
            all items are returned.
    """

    name: str
    description: str
    key: KeySchema
    indexes: tuple[Index, ...]
    visible_attributes: tuple[str, ...]
    required_attributes: tuple[str, ...]
    default_page_size: int
    max_page_size: int
    cache_ttl: timedelta
    allow_scan: bool
    timestamp_attributes: tuple[str, ...] = ()
    time_to_live_attribute: str | None = None

    @classmethod
    def from_message(cls, table: catalog_service_pb2.Table) -> Table:
        """Return the table in a message."""
        return cls(
            name=table.name,
            description=table.description,
            key=KeySchema.from_message(table.key),
            indexes=tuple(_index(index) for index in table.indexes),
            visible_attributes=tuple(table.visible_attributes),
            required_attributes=tuple(table.required_attributes),
            default_page_size=table.default_page_size,
            max_page_size=table.max_page_size,
            cache_ttl=timedelta_of(table.cache_ttl),
            allow_scan=table.allow_scan,
            timestamp_attributes=tuple(table.timestamp_attributes),
            time_to_live_attribute=table.time_to_live_attribute or None,
        )


def known_names(table: Table) -> frozenset[str]:
    """Return the attributes that a description names: fields of templates, not the templates."""
    keys = [table.key, *(index.key for index in table.indexes)]
    attributes = [one for key in keys for one in (*key.partition, *key.sort)]
    fields = (field for one in attributes for field in _FIELD.findall(one.template))
    projected = (name for index in table.indexes for name in index.projected_attributes)
    return frozenset(
        {
            *(one.name for one in attributes if one.name),
            *fields,
            *projected,
            *table.visible_attributes,
            *table.required_attributes,
            *table.timestamp_attributes,
        }
    )


def _index(index: catalog_service_pb2.Index) -> Index:
    return Index(
        name=index.name,
        kind=IndexKind(index.kind),
        key=KeySchema.from_message(index.key),
        projects_all=index.projects_all,
        projected_attributes=tuple(index.projected_attributes),
    )


def _attributes(
    attributes: Iterable[catalog_service_pb2.KeyAttribute],
) -> tuple[KeyAttribute, ...]:
    return tuple(KeyAttribute(one.name, KeyType(one.type), one.template) for one in attributes)
