"""Tags: of what pages are made, as far as invalidations can say it.

A tag is a digest of what it names, so that all take the same room whatever callers ask for. It
names the table by its place in DynamoDB (endpoint, region, ARN), not by its names in the catalog or
the role that reads it. The `TableId` is in the keys of pages and not in tags: an invalidation ends
the pages of a replica that has not noticed yet that the table was created anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, TypeAlias

from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.catalog.schema import AccessPath, PathKind
from dynamodb_processor_server.query.expression import canonical
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Operation, Plan

Partition: TypeAlias = tuple[AccessPath, tuple[Value, ...]]
Tag: TypeAlias = bytes

TAG_BYTES: Final = 16


def tags_of(plan: Plan) -> tuple[Tag, ...]:
    """Return the tags of a plan's pages: the table, and either its partitions or all writes.

    Items that are got from the table to complete an index's may change without the index's
    partition being named, so any write may change such a page.
    """
    table = plan.table.schema.identity
    if plan.operation is Operation.SCAN or plan.hydration is not None:
        return _whole(table), _writes(table)
    partitions = (_of_partition(table, plan.path, values) for values in plan.key.branches)
    return _whole(table), *partitions


def tags_of_table(table: TableIdentity) -> tuple[Tag, ...]:
    """Return the tags that move with a whole table: one, which every page of it has."""
    return (_whole(table),)


def tags_of_partitions(table: TableIdentity, partitions: Iterable[Partition]) -> tuple[Tag, ...]:
    """Return the tags that move when something was written to `partitions`."""
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
