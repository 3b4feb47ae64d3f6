"""A plan: the one way in which a query will be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from types import MappingProxyType
from typing import Any, ClassVar

from dynamodb_processor_server.catalog.logical_view import LogicalView
from dynamodb_processor_server.catalog.schema import AccessPath, KeyAttribute, PathKind, Table
from dynamodb_processor_server.query.expression.ast import Condition, Path
from dynamodb_processor_server.query.planning.key_condition import KeyCondition
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.query.planning.tags import (
    Tag,
    tags_read_with_partitions,
    tags_read_with_table,
)


class Operation(Enum):
    """What is asked of DynamoDB."""

    GET = "get"
    QUERY = "query"
    SCAN = "scan"
    NOTHING = "nothing"  # the condition contradicts itself: the answer is empty without a read


@dataclass(frozen=True, slots=True)
class RejectedPath:
    """A path that was not chosen, and why.

    `unproven` are key attributes of the path, where all that speaks against it is that items asked
    for may lack them: the path leaves out such items.
    """

    path: AccessPath
    reason: str
    unproven: tuple[KeyAttribute, ...] = ()


@dataclass(frozen=True, slots=True)
class ResultProjection:
    """Which parts of the items read are returned.

    `attributes`: the top-level attributes kept, None for all. `paths`: document paths to cut out of
    each item, where DynamoDB was asked for more than the caller was. `view` is how what is left is
    shown, None for as it is.
    """

    CANONICAL_TAGS: ClassVar = ("projection", {"attributes": 1, "paths": 2, "view": 3})

    attributes: frozenset[str] | None = None
    paths: tuple[Path, ...] = ()
    view: LogicalView | None = None


@dataclass(frozen=True, slots=True)
class Hydration:
    """How items that an index holds in part are got from the table.

    `request` holds BatchGetItem's parameters for the table besides the keys. `shown` is what the
    service checks on what the index shows, before it gets anything. `condition` is what it checks
    on the item itself: all that the key condition does not say, since the item may have changed
    after the index. `selective` says that it may reject many items: it names attributes that the
    index does not hold.
    """

    CANONICAL_TAGS: ClassVar = (
        "hydration",
        {"request": 1, "shown": 2, "condition": 3, "selective": 4},
    )

    request: Mapping[str, Any]
    shown: Condition | None
    condition: Condition | None
    selective: bool


@dataclass(frozen=True)  # without slots, which leave no room for what is computed once
class Plan:
    """How a query is read: one path, what DynamoDB evaluates and what the service evaluates.

    `requests` hold the fixed parameters of the DynamoDB operation for each partition to read; a
    page adds `Limit` and `ExclusiveStartKey`. Where there are several, their items are merged in
    the order of `path`'s sort key, `descending` or not. `local_filter` is what the service must
    still check on each item. With `hydration` the requests show no more than where an item is, and
    the item itself is got from the table. `exact_limit` says that no more than a handful of
    evaluated items will be rejected, so that reading as many items as are wanted wastes nothing.
    `counts` says that only their number is wanted. `cache_key` identifies what is read, whoever
    asks.

    `rule` is the caller's row rule, of which conditions and requests are full. `hides_cost` says
    that reading passes over items that the rule hides: then what it costs, and where answers end,
    must not be told.
    """

    table: Table
    path: AccessPath
    operation: Operation
    key: KeyCondition
    filter: Condition | None
    local_filter: Condition | None
    hydration: Hydration | None
    requests: tuple[Mapping[str, Any], ...]
    shape: ResultProjection
    consistent: bool
    descending: bool
    exact_limit: bool
    counts: bool
    rejected: tuple[RejectedPath, ...]
    cache_key: bytes
    rule: RowRule | None = None
    hides_cost: bool = False

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of the plan's pages: the table, and either its partitions or all writes.

        Items that are got from the table to complete an index's may change without the index's
        partition being named, so any write may change such a page.
        """
        table = self.table.schema.identity
        if self.operation is Operation.SCAN or self.hydration is not None:
            return tags_read_with_table(table)
        return tags_read_with_partitions(table, self.path, self.key.branches)

    def with_consistent_reads(self) -> Plan:
        """Return the plan with strong reads in place of eventual ones, which cost half as much.

        It is the same plan where there are none (global indexes), where they would be dear (scans)
        and where they say nothing of what was written in another region.
        """
        if (
            self.path.kind is PathKind.GLOBAL
            or self.operation is Operation.SCAN
            or self.table.schema.replicated
        ):
            return self
        requests = tuple(
            MappingProxyType({**request, "ConsistentRead": True}) for request in self.requests
        )
        return replace(self, consistent=True, requests=requests)
