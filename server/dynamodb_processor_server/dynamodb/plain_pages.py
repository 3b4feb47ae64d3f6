"""Builds the page of a plain read: one partition, and every item that is read goes on the page.

Nearly every call is a plain read. It needs no filter, no merge of partitions, no items by key, and
no account of a budget. `page_builder.py` builds all other pages; decision 0032 has the reason for
two builders. A test holds both to the same pages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dynamodb_processor_server.cursor import (
    EXHAUSTED,
    PartitionCursor,
    decode_cursor,
    encode_cursor,
    key_of,
)
from dynamodb_processor_server.dynamodb.oversized_items import MAX_ITEM_BYTES, key_text
from dynamodb_processor_server.dynamodb.page_items import BATCH, PageItems, with_read_ahead
from dynamodb_processor_server.dynamodb.request_sizes import MAX_LIMIT, items_ahead
from dynamodb_processor_server.errors import ItemTooLarge
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Operation
from dynamodb_processor_server.reader import (
    NO_BUDGET,
    NO_USAGE,
    Cursor,
    Page,
    PageEnd,
    PageRead,
    Usage,
)
from dynamodb_processor_server.runtime.time_slices import TimeSlice


def is_plain(request: PageRead) -> bool:
    """Return whether every item of the only partition is returned, and no budget meters reads."""
    plan, budget = request.plan, request.options.budget
    return (
        plan.exact_limit  # nothing is filtered by DynamoDB
        and plan.local_filter is None
        and plan.hydration is None
        and not plan.counts
        and not plan.hides_cost
        and len(plan.requests) == 1
        and (budget is NO_BUDGET or not budget.meters_reads)
    )


class PlainPartition:
    """The partition of a plain read: the items read and not yet taken, and its cursor.

    `cursor` is the key to go on from, None for the start, or EXHAUSTED. `read_at` is when `items`
    were read. `evaluated` is the number of items that DynamoDB has evaluated in this call, for
    `units` read units.
    """

    __slots__ = ("_behind", "_read_at", "cursor", "evaluated", "items", "units")

    def __init__(self, cursor: PartitionCursor) -> None:
        self.items: list[WireItem] = []
        self.cursor = cursor
        self.evaluated = 0
        self.units = 0.0
        self._behind = cursor  # the cursor when all `items` are taken
        self._read_at = 0.0

    @property
    def read_at(self) -> float | None:
        """When the items were read, None if there are none."""
        return self._read_at if self.items else None

    def add(self, answer: Mapping[str, Any], usage: Usage, read_at: float) -> None:
        """Add an answer to a request from `cursor` on; there are no items that are not taken."""
        self.items = [*answer["Items"]]
        self.evaluated += usage.items_scanned
        self.units += usage.read_units
        self._behind = answer.get("LastEvaluatedKey") or EXHAUSTED
        self._read_at = read_at
        if not self.items:
            self.cursor = self._behind

    def take(self, count: int, key_attributes: tuple[str, ...]) -> None:
        """Take the next `count` items."""
        if count == len(self.items):
            self.items, self.cursor = [], self._behind
        elif count:
            self.cursor = key_of(self.items[count - 1], key_attributes)
            self.items = self.items[count:]


class PlainPageBuilder:
    """Builds the page that begins at the cursor of a plain request.

    `max_bytes` bounds the encoded items, but a page always takes one, if it has no more than
    `max_item_bytes`. `now` is when the read began, in seconds since the epoch. `fill` pauses after
    `pause_after` seconds of encoding.
    """

    def __init__(
        self,
        request: PageRead,
        max_bytes: int,
        now: float,
        max_item_bytes: int = MAX_ITEM_BYTES,
        pause_after: float = math.inf,
    ) -> None:
        plan, options = request.plan, request.options
        self.usage = NO_USAGE
        self.paused = False
        self._request = request
        self._plan = plan
        self._items = PageItems(plan, options.page_size, max_bytes, max_item_bytes, now)
        self._max_item_bytes = max_item_bytes
        self._pause_after = pause_after
        self._read_at = self._oldest = now
        self._partition = _partition_of(request)
        if self._partition.items:
            self._oldest = min(now, self._partition.read_at or now)
        self._began = self._partition.cursor

    @property
    def has_progress(self) -> bool:
        """Whether the page ends further than where it began."""
        return self._partition.cursor != self._began

    def next_requests(self) -> list[tuple[PlainPartition, dict[str, Any]]]:
        """Return the partition with the request to make, nothing when it is exhausted."""
        partition, plan, options = self._partition, self._plan, self._request.options
        cursor = partition.cursor
        if cursor is EXHAUSTED:
            return []
        parameters = dict(plan.requests[0])
        if plan.operation is not Operation.GET:
            limit = self._items.missing
            room = self._items.likely_room(None)
            if room is not None:
                limit = max(1, min(limit, room))
            if options.reads_on and partition.evaluated:
                limit = max(limit, items_ahead(partition.evaluated, partition.units))
            parameters["Limit"] = min(limit, MAX_LIMIT)
        if cursor is not None:
            parameters["ExclusiveStartKey"] = cursor
        return [(partition, parameters)]

    def add(self, partition: PlainPartition, answer: Mapping[str, Any], usage: Usage) -> None:
        """Add the answer to a request of `next_requests`."""
        self.usage = usage if self.usage is NO_USAGE else self.usage + usage
        partition.add(answer, usage, self._read_at)

    def fill(self) -> PageEnd | None:
        """Put items on the page; return why it ends, None when more must be read.

        None is also returned, and `paused` set, when the time slice is over between two items: then
        the next call goes on behind them.
        """
        partition = self._partition
        self.paused = False
        if partition.items:
            end = self._put_all()
            if end is not None:
                return end
            if partition.items:
                self.paused = True
                return None
        if partition.cursor is EXHAUSTED:
            return PageEnd.EXHAUSTED
        return PageEnd.PAGE_FULL if self._items.is_full else None

    def partial_page(self, end: PageEnd) -> Page:
        """Return the items so far as a page that ends for a reason."""
        return Page(self._items.content(self._following(), end, self._oldest), self.usage)

    def finish(self, end: PageEnd) -> Page:
        """Return the page, with the items read beyond it for the same call's next page."""
        return with_read_ahead(self.partial_page(end), self._request, self._partition)

    def _following(self) -> Cursor | None:
        cursor = self._partition.cursor
        return None if cursor is EXHAUSTED else encode_cursor((cursor,))

    def _put_all(self) -> PageEnd | None:
        """Put the items read on the page; return why one of them cannot be.

        That one and those after it are withheld, and read again by the next page.
        """
        partition, before = self._partition, self._items.count
        time_slice = None
        if len(partition.items) > BATCH:
            time_slice = TimeSlice(self._pause_after)
            time_slice.begin()
        end = self._items.put_all(partition.items, time_slice)
        count = self._items.count - before
        if end is PageEnd.RESPONSE_BYTES and not count and not before:
            raise self._too_large(partition.items[0])
        partition.take(count, self._plan.path.cursor_attributes)
        return end

    def _too_large(self, item: WireItem) -> ItemTooLarge:
        size = len(self._items.encode(item))
        self._partition.take(1, self._plan.path.cursor_attributes)
        name = key_text(self._plan.table, item)
        return ItemTooLarge(name, size, self._max_item_bytes, self._following())


def _partition_of(request: PageRead) -> PlainPartition:
    """Return the partition at the request's cursor, with the items that were read ahead of it."""
    cursor, read_ahead = request.cursor, request.read_ahead
    if read_ahead is not None:
        items = read_ahead.take(cursor)
        if isinstance(items, PlainPartition):
            return items
    return PlainPartition(decode_cursor(cursor, 1)[0] if cursor else None)
