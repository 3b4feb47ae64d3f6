"""Tags: identifiers of the data that a page or an item was read from, for invalidation.

A tag is a digest, so that all tags have one size. It identifies the table by its place in DynamoDB
(endpoint, region, ARN), not by its names in the catalog or the role that reads it. The `TableId` is
part of page keys and not of tags. So an invalidation reaches the pages of a replica that has not
yet noticed that the table was created again.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypeAlias

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.catalog.schema import AccessPath, PathKind
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.values import Value

Partition: TypeAlias = tuple[AccessPath, tuple[Value, ...]]
Tag: TypeAlias = bytes

TAG_BYTES: Final = 16


def tags_read_with_table(table: TableIdentity) -> tuple[Tag, ...]:
    """Return the tags of pages that any write to the table may change."""
    return _table_tag(table), _writes_tag(table)


def tags_read_with_partitions(
    table: TableIdentity, path: AccessPath, partitions: Iterable[tuple[Value, ...]]
) -> tuple[Tag, ...]:
    """Return the tags of pages that only a write to some partitions of a path may change."""
    return _table_tag(table), *(_partition_tag(table, path, values) for values in partitions)


def tags_read_with_item(
    table: TableIdentity, partition: tuple[Value, ...], sort: tuple[Value, ...]
) -> tuple[Tag, ...]:
    """Return the tags of a single item: of all items, of those of its partition, and its own.

    A stream record invalidates the item's own tag only: a write to another item of the partition
    does not change this one.
    """
    own = _tag("item", table.location, partition, sort)
    return _items_tag(table), _partition_items_tag(table, partition), own


def tags_of_table(table: TableIdentity) -> tuple[Tag, ...]:
    """Return the tags that a change of the whole table invalidates: of all pages, of all items."""
    return _table_tag(table), _items_tag(table)


def tags_of_partitions(table: TableIdentity, partitions: Iterable[Partition]) -> tuple[Tag, ...]:
    """Return the tags that a write to some partitions invalidates."""
    return _writes_tag(table), *(_partition_tag(table, *partition) for partition in partitions)


def tags_of_items(table: TableIdentity, partitions: Iterable[Partition]) -> tuple[Tag, ...]:
    """Return the tags of the single items that a write to some partitions may change.

    These are the items of the table's own partitions; all items where only partitions of indexes
    are known.
    """
    own = [values for path, values in partitions if path.kind is PathKind.TABLE]
    return tuple(_partition_items_tag(table, values) for values in own) or (_items_tag(table),)


def progress_tag(table: TableIdentity, path: AccessPath) -> Tag:
    """Return the tag of the claims about a path, which no page has.

    It is for the attributes of a global index's key too: the index may be made anew with others.
    """
    if path.kind is not PathKind.GLOBAL:  # local indexes have the partitions of their table
        return _tag("progress", table.location)
    key = tuple([(attribute.name, attribute.type) for attribute in path.key.attributes])
    return _tag("progress", table.location, path.index, key)


def _table_tag(table: TableIdentity) -> Tag:
    return _tag("table", table.location)


def _writes_tag(table: TableIdentity) -> Tag:
    return _tag("table-writes", table.location)


@lru_cache(maxsize=1_000)
def _items_tag(table: TableIdentity) -> Tag:
    return _tag("items", table.location)


def _partition_items_tag(table: TableIdentity, values: tuple[Value, ...]) -> Tag:
    return _tag("partition-items", table.location, values)


def _partition_tag(table: TableIdentity, path: AccessPath, values: tuple[Value, ...]) -> Tag:
    # A local index has the same partitions as its table.
    index = path.index if path.kind is PathKind.GLOBAL else None
    return _tag("partition", table.location, index, values)


def _tag(*names: object) -> Tag:
    return canonical.digest(names)[:TAG_BYTES]
