"""The plan of a query: the path to read, the requests, and the residual filter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from functools import cached_property, lru_cache
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
    """The DynamoDB operation of a plan."""

    GET = "get"
    QUERY = "query"
    SCAN = "scan"
    NOTHING = "nothing"  # the condition contradicts itself: the result is empty without a read


class ReadLag(IntEnum):
    """What reads may be behind the writes that were finished before they began."""

    NONE = 0
    TABLE = 1  # an eventual read, or a replica of the table in another region
    INDEX = 2  # a global index follows its table


@dataclass(frozen=True, slots=True)
class RejectedPath:
    """A path that was not chosen, with the reason.

    `unproven` are key attributes of the path that matching items may lack. It is set only if this
    is the sole reason: the path leaves out such items. `fixes_partition` is False if the reason is
    that the condition does not fix the path's partition key.
    """

    path: AccessPath
    reason: str
    unproven: tuple[KeyAttribute, ...] = ()
    fixes_partition: bool = True


@dataclass(frozen=True, slots=True)
class ResultProjection:
    """The parts of an item that are returned.

    `attributes` are the top-level attributes to keep, None for all. `paths` are document paths to
    cut out of each item, where DynamoDB was asked for more than the caller was. `view` converts the
    remaining attributes for the caller, None to leave them as they are.
    """

    CANONICAL_TAGS: ClassVar = ("projection", {"attributes": 1, "paths": 2, "view": 3})

    attributes: frozenset[str] | None = None
    paths: tuple[Path, ...] = ()
    view: LogicalView | None = None


@dataclass(frozen=True, slots=True)
class Hydration:
    """How items that an index has in part are completed from the table.

    `request` has BatchGetItem's parameters for the table without the keys. The service checks
    `shown` on the attributes that the index has, before it gets an item. It checks `condition` on
    the item itself: everything that the key condition does not cover, since the item may have
    changed after the index. `selective` means that `condition` may reject many items, because it
    names attributes that the index lacks.
    """

    CANONICAL_TAGS: ClassVar = (
        "hydration",
        {"request": 1, "shown": 2, "condition": 3, "selective": 4},
    )

    request: Mapping[str, Any]
    shown: Condition | None
    condition: Condition | None
    selective: bool


@dataclass(frozen=True, slots=True)
class Disclosure:
    """The parts of a plan that a caller may see with each page.

    `index` is the index that is read, None for the table. Page tokens have it, encrypted. Responses
    have `index_used`, which is empty also for an index whose name is hidden. `hides_writes` says
    that a row rule hides items: a cache hit or a miss would then tell whether any item was written,
    hidden ones included. `hides_cost` is the plan's.
    """

    index: str | None
    index_used: str
    hides_writes: bool
    hides_cost: bool


@lru_cache(maxsize=1_000)  # one object for many plans; there are few for an index
def _disclosure(
    index: str | None, is_named: bool, hides_writes: bool, hides_cost: bool
) -> Disclosure:
    return Disclosure(index, (index or "") if is_named else "", hides_writes, hides_cost)


@dataclass(frozen=True)  # no slots: a cached property needs the instance's dictionary
class Plan:
    """How a query is read: one path, and the conditions that DynamoDB and the service evaluate.

    Attributes:
        requests: The fixed parameters of the DynamoDB operation, one entry for each partition; a
            page adds `Limit` and `ExclusiveStartKey`. Items of several partitions are merged in the
            order of `path`'s sort key, `descending` or not.
        local_filter: The condition that the service must still check on each item.
        hydration: How items are got from the table, if the requests only locate them.
        exact_limit: Whether at most a handful of evaluated items will be rejected, so that reading
            as many items as are wanted wastes nothing.
        counts: Whether only the number of items matters.
        cache_key: Identifies the items that are read, for every caller.
        rule: The caller's row rule; conditions and requests already include it.
        hides_cost: Whether the read skips items that the rule hides. Then its cost, and the places
            where its pages end, must not be revealed.
    """

    table: Table
    path: AccessPath
    operation: Operation
    key: KeyCondition
    filter: Condition | None
    local_filter: Condition | None
    hydration: Hydration | None
    requests: tuple[Mapping[str, Any], ...]
    projection: ResultProjection
    consistent: bool
    descending: bool
    exact_limit: bool
    counts: bool
    rejected: tuple[RejectedPath, ...]
    cache_key: bytes
    rule: RowRule | None = None
    hides_cost: bool = False

    @cached_property
    def is_cached(self) -> bool:
        """Whether pages of the plan are stored, and looked up."""
        return not self.consistent and self.table.config.cache_ttl > 0

    @cached_property
    def lag(self) -> ReadLag:
        """What the plan's reads may be behind.

        A consistent read of a replicated table does not see what was written in another region.
        Hydration reads eventually.
        """
        if self.path.kind is PathKind.GLOBAL:
            return ReadLag.INDEX
        is_replicated = self.table.schema.replicated
        sees_all = self.consistent and self.hydration is None and not is_replicated
        return ReadLag.NONE if sees_all else ReadLag.TABLE

    @property
    def disclosure(self) -> Disclosure:
        """The parts of the plan that a caller may see with each page."""
        is_named = self.table.may_name(self.path)
        return _disclosure(self.path.index, is_named, self.rule is not None, self.hides_cost)

    @cached_property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of the plan's pages: the table, and either its partitions or all writes.

        Hydrated items may change without a write to the index's partition, so any write may change
        such a page.
        """
        table = self.table.schema.identity
        if self.operation is Operation.SCAN or self.hydration is not None:
            return tags_read_with_table(table)
        return tags_read_with_partitions(table, self.path, self.key.branches)

    def with_consistent_reads(self, *, everywhere: bool = False) -> Plan:
        """Return the plan with consistent reads, which cost twice as much as eventual ones.

        It is the same plan for global indexes, which have none. Unless they are wanted
        `everywhere`, it is for scans, where they cost too much, and for replicated tables, where
        they do not see writes in another region.
        """
        if self.path.kind is PathKind.GLOBAL or self.consistent:
            return self
        costs_too_much = self.operation is Operation.SCAN or self.table.schema.replicated
        if costs_too_much and not everywhere:
            return self
        requests = tuple(
            MappingProxyType({**request, "ConsistentRead": True}) for request in self.requests
        )
        return replace(self, consistent=True, requests=requests)
