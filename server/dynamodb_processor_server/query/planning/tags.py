"""Tags, which name what a page was read from so that invalidations can end it.

A tag is a digest, so that every tag takes the same room whatever callers ask for. It names the
table by its place in DynamoDB (endpoint, region, ARN), not by its names in the catalog or the role
that reads it. The `TableId` is in the keys of pages and not in tags: an invalidation ends the pages
of a replica that has not noticed yet that the table was created anew.
"""

from __future__ import annotations

from collections.abc import Iterable
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
    return _whole(table), _writes(table)


def tags_read_with_partitions(
    table: TableIdentity, path: AccessPath, partitions: Iterable[tuple[Value, ...]]
) -> tuple[Tag, ...]:
    """Return the tags of pages that only writes to some partitions of a path may change."""
    return _whole(table), *(_of_partition(table, path, values) for values in partitions)


def tags_of_table(table: TableIdentity) -> tuple[Tag, ...]:
    """Return the tags that a change of a whole table invalidates: one, which all its pages have."""
    return (_whole(table),)


def tags_of_partitions(table: TableIdentity, partitions: Iterable[Partition]) -> tuple[Tag, ...]:
    """Return the tags that a write to some partitions invalidates."""
    return _writes(table), *(_of_partition(table, *partition) for partition in partitions)


def _whole(table: TableIdentity) -> Tag:
    return _tag("table", table.location)


def _writes(table: TableIdentity) -> Tag:
    return _tag("table-writes", table.location)


def _of_partition(table: TableIdentity, path: AccessPath, values: tuple[Value, ...]) -> Tag:
    # A local index has the table's own partitions.
    index = path.index if path.kind is PathKind.GLOBAL else None
    return _tag("partition", table.location, index, values)


def _tag(*names: object) -> Tag:
    return canonical.digest(names)[:TAG_BYTES]
