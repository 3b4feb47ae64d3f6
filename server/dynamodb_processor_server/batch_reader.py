"""The port for items by their primary keys, which everything above such a read is written in.

`DynamoDBItemReader` gets them from DynamoDB; `AdmissionItemReader` wraps it and adds admission.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import ResultProjection
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import Caller, ReadOptions, Usage


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

    A key that is absent from `items` was not read in time. `read_at` is in seconds since the epoch.
    """

    items: Mapping[int, WireItem | None]
    usage: Usage
    read_at: float


class ItemReader(Protocol):
    """Gets items by their primary keys."""

    async def get_items(
        self, request: BatchGetRequest, options: ReadOptions, caller: Caller
    ) -> BatchGetResult:
        """Return the items that could be read within the deadlines and the budget.

        Raises BackendUnavailable, DeadlineExceeded (with nothing to show) and TableNotFound.
        """
