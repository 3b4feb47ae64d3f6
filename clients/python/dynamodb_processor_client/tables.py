"""What can be read: tables, their keys and their indexes."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from dynamodb_processor.v1 import catalog_service_pb2
from dynamodb_processor_client.pages import timedelta_of


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table of a listing: its name for queries, and the catalog's words about it."""

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
    """Shares the table's partition key; strong reads are possible."""
    GLOBAL = 2
    """Has keys of its own; eventually consistent."""

    @classmethod
    def _missing_(cls, value: object) -> IndexKind:
        return cls.UNKNOWN


@dataclass(frozen=True, slots=True)
class KeyAttribute:
    """One attribute of a key.

    Attributes:
        name: Its name; empty when readers see only the fields that it is composed of.
        type: Its type.
        template: How it is composed of fields, which queries name in its stead, such as
            `USER#{user_id}`; empty when it is not.
    """

    name: str
    type: KeyType
    template: str = ""


@dataclass(frozen=True, slots=True)
class KeySchema:
    """The attributes of a key, in order; `sort` is empty when there is no sort key."""

    partition: tuple[KeyAttribute, ...]
    sort: tuple[KeyAttribute, ...]

    @classmethod
    def from_message(cls, key: catalog_service_pb2.KeySchema) -> KeySchema:
        """Return what the message says."""
        return cls(partition=_attributes(key.partition), sort=_attributes(key.sort))


@dataclass(frozen=True, slots=True)
class Index:
    """A secondary index. `projected_attributes` is empty when it holds every attribute."""

    name: str
    kind: IndexKind
    key: KeySchema
    projects_all: bool
    projected_attributes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as its readers see it.

    Attributes:
        name: The name for queries.
        description: The catalog's words about it; may be empty.
        key: The base table's key.
        indexes: The secondary indexes, by name.
        visible_attributes: What queries may name and results hold; empty means all.
        required_attributes: What the catalog says every item has.
        default_page_size: Items per page when none are asked for.
        max_page_size: The largest page size.
        cache_ttl: How long pages stay cached; zero means not at all.
        allow_scan: Whether conditions without a partition key are served.
        timestamp_attributes: Attributes that queries compare with RFC 3339 text, and results hold
            as such, whatever is stored.
        time_to_live_attribute: The attribute after whose time items are left out; `None` when all
            are shown.
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
        """Return what the message says."""
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
