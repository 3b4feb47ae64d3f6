"""The port for items by their primary keys, which everything above such a read is written in.

`DynamoDBItemReader` gets them from DynamoDB. `AdmissionItemReader` wraps it and adds admission,
`CachingItemReader` wraps a reader and adds the cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Protocol

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import ResultProjection
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import (
    CachePolicy,
    CacheStatus,
    Caller,
    ReadOptions,
    Usage,
)


@dataclass(frozen=True, slots=True)
class BatchGetRequest:
    """Items to get from one table, by distinct primary keys in wire form.

    `request` holds BatchGetItem's parameters for the table besides the keys. An item that `rule`
    hides counts as missing.
    """

    table: Table
    keys: tuple[WireItem, ...]
    request: Mapping[str, Any]
    projection: ResultProjection
    consistent: bool
    rule: RowRule | None = None


@dataclass(frozen=True, slots=True)
class BatchGetResult:
    """The items of a batch by the index of their key, None for an item that does not exist.

    A key that is absent from `items` was not read in time. `messages` are the `Item` messages of
    those items that are encoded already. `read_at` is when the oldest of the items was read, in
    seconds since the epoch. `status` is how the cache took part, `age` that of the oldest cached
    item. `expires_in` is the time until the first of the items leaves the cache, None if one of
    them is not stored. Both are in seconds. `cached_at` has the items that this read did not read
    itself, but found in the cache or got from the read of another call: when they were read, in
    seconds since the epoch, by the index of their key.
    """

    items: Mapping[int, WireItem | None]
    usage: Usage
    read_at: float
    messages: Mapping[int, bytes] = field(default_factory=dict)
    status: CacheStatus = CacheStatus.BYPASSED
    age: float = 0.0
    expires_in: float | None = None
    cached_at: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CachedItems:
    """The cached `Item` messages of a batch by the index of their key; None for an absent item.

    The other values are as in `BatchGetResult`.
    """

    messages: Mapping[int, bytes | None]
    read_at: float = inf
    age: float = 0.0
    expires_in: float = inf


class ItemLookup(Protocol):
    """Finds items that need no read."""

    def cached_items(self, request: BatchGetRequest, policy: CachePolicy) -> CachedItems:
        """Return the items of a batch that are cached and fresh."""


class ItemReader(Protocol):
    """Gets items by their primary keys."""

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return the items that could be read within the deadlines and the budget.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show), TableNotFound and
        PreconditionFailed (not cached).
        """
