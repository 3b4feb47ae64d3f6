"""A plan: the one way in which a query will be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dynamodb_processor_server.catalog.schema import AccessPath, Table
from dynamodb_processor_server.query.model import Condition, Path


class Operation(Enum):
    """What is asked of DynamoDB."""

    QUERY = "query"
    SCAN = "scan"
    NOTHING = "nothing"  # the condition contradicts itself: the answer is empty without a read


@dataclass(frozen=True, slots=True)
class RejectedPath:
    """A path that was not chosen, and why."""

    path: AccessPath
    reason: str


@dataclass(frozen=True, slots=True)
class Shape:
    """Which parts of the items read are returned.

    `attributes`: the top-level attributes kept, None for all. `paths`: document paths to cut out of
    each item, where DynamoDB was asked for more than the caller was.
    """

    attributes: frozenset[str] | None = None
    paths: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """How a query is read: one path, what DynamoDB evaluates and what the service evaluates.

    `request` holds the fixed parameters of the DynamoDB operation; a page adds `Limit` and
    `ExclusiveStartKey`. `local_filter` is what the service must still check on each item.
    `exact_limit` says that no more than a handful of evaluated items will be rejected, so that
    reading as many items as are wanted wastes nothing. `cache_key` identifies what is read, whoever
    asks.
    """

    table: Table
    path: AccessPath
    operation: Operation
    key_condition: Condition | None
    filter: Condition | None
    local_filter: Condition | None
    request: Mapping[str, Any]
    shape: Shape
    strong: bool
    exact_limit: bool
    rejected: tuple[RejectedPath, ...]
    cache_key: bytes
