"""Builds one page from DynamoDB's answers.

DynamoDB's `Limit` counts evaluated items, a page counts returned ones: answers are added until the
page is full, everything is exhausted or a limit is reached.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Mapping
from typing import Any

from dynamodb_processor_server.cursor import decode_cursor, encode_cursor
from dynamodb_processor_server.dynamodb.hydration import PENDING, GotItems, Pending, PrimaryKey
from dynamodb_processor_server.dynamodb.oversized_items import MAX_ITEM_BYTES, key_text
from dynamodb_processor_server.dynamodb.page_items import PageItems, with_read_ahead
from dynamodb_processor_server.dynamodb.partition_merge import (
    PartitionMerge,
    PartitionStream,
    next_request,
)
from dynamodb_processor_server.dynamodb.request_sizes import RequestSizes
from dynamodb_processor_server.errors import ItemTooLarge
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import (
    NO_USAGE,
    Budget,
    Cursor,
    Page,
    PageEnd,
    PageRead,
    Usage,
)
from dynamodb_processor_server.runtime.time_slices import TimeSlice


def _partitions_of(request: PageRead) -> PartitionMerge:
    """Return the partitions at the request's cursor, with the items that were read ahead of it."""
    plan, cursor, read_ahead = request.plan, request.cursor, request.read_ahead
    items = None if read_ahead is None else read_ahead.take(cursor)
    if isinstance(items, PartitionMerge):
        return items
    return PartitionMerge(plan, decode_cursor(cursor, len(plan.requests)))


class PageBuilder:
    """Builds the page that begins at the cursor of a request.

    `max_bytes` bounds the encoded items, but a page always takes one, if it has no more than
    `max_item_bytes`. `now` is when the read began, in seconds since the epoch. `fill` pauses after
    `pause_after` seconds of evaluating.
    """

    def __init__(
        self,
        request: PageRead,
        max_bytes: int,
        now: float,
        max_item_bytes: int = MAX_ITEM_BYTES,
        pause_after: float = math.inf,
    ) -> None:
        plan = request.plan
        self.usage = NO_USAGE
        self._request = request
        self._plan = plan
        page_size = request.options.page_size
        self._items = PageItems(plan, page_size, max_bytes, max_item_bytes, now)
        self._budget = request.options.budget
        self._merge = _partitions_of(request)
        if self._merge.base is not None:
            self._merge.base.begin_page()
        self._began = self._merge.cursors
        self._max_item_bytes = max_item_bytes
        self._read_at = now
        self._oldest = min(now, self._merge.read_at or now)
        # Every item of the only partition is returned, so that none needs a look of its own.
        self._puts_all = (
            len(plan.requests) == 1
            and plan.local_filter is None
            and plan.hydration is None
            and not plan.counts
        )
        self.paused = False
        self._slice = TimeSlice(pause_after)
        self._sizes = RequestSizes(request, self._merge, self._items)

    @property
    def has_progress(self) -> bool:
        """Whether the page ends further than where it began."""
        return self._merge.cursors != self._began

    def next_requests(self) -> list[tuple[PartitionStream, dict[str, Any]]]:
        """Return the partitions of which more must be read, each with the request to make.

        A budget is kept to the item, except that the first requests ask every partition for one:
        without that, the order would be unknown and no progress be made.
        """
        waiting = self._merge.waiting()
        left = self._scans_left()
        if self.usage.backend_calls:
            waiting = waiting[:left]
        limits = self._sizes.limits(waiting, left)
        return [
            (partition, next_request(self._plan, partition.request, partition.cursor, limit))
            for partition, limit in zip(waiting, limits, strict=True)
        ]

    def add(self, partition: PartitionStream, answer: Mapping[str, Any], usage: Usage) -> None:
        """Add the answer to a request of `next_requests`."""
        self.usage = usage if self.usage is NO_USAGE else self.usage + usage
        partition.evaluated += usage.items_scanned
        partition.in_vain += usage.items_scanned
        partition.units += usage.read_units
        partition.add(answer, self._read_at)

    def missing(self) -> dict[PrimaryKey, WireItem]:
        """Return the keys of the items that must be got before the page can go on.

        There are none while the page waits for `next_requests`.
        """
        merge, base = self._merge, self._merge.base
        if base is None or merge.waiting():
            return {}
        units = self._budget.after(self.usage).max_read_units
        return base.missing(merge.upcoming(), self._sizes.gets(base, units))

    @property
    def contradicted(self) -> Collection[PrimaryKey]:
        """The keys of the missing items that must be read anew, as cached ones do not fit."""
        return frozenset() if self._merge.base is None else self._merge.base.contradicted

    def hydrate(self, got: GotItems) -> None:
        """Add items that were got by key."""
        assert self._merge.base is not None, "the plan does not hydrate"
        self.usage += got.usage
        self._merge.base.add(got)

    def fill(self) -> PageEnd | None:
        """Put items on the page; return why it ends, None when more must be read.

        None is also returned, and `paused` set, when the time slice is over between two items: then
        the next call goes on behind them.
        """
        merge = self._merge
        self.paused = False
        self._slice.begin()
        while (partition := merge.next()) is not None:
            if self._puts_all:
                end = self._put_all(partition)
            else:
                item = self._item(partition.items[0])
                if item is PENDING:
                    return self._end_before_gets()
                end = self._put(item, partition)
            if end is not None:
                return end
            if self._slice.over:
                self.paused = True
                return None
        if merge.exhausted:
            return PageEnd.EXHAUSTED
        if self._is_full:
            return PageEnd.PAGE_FULL
        return self._budget.spent_by(self.usage)

    def partial_page(self, end: PageEnd) -> Page:
        """Return the items so far as a page that ends for a reason."""
        base = self._merge.base
        cached_at = math.inf if base is None else base.oldest
        oldest = min(self._oldest, cached_at)
        content = self._items.content(self._following(), end, oldest)
        return Page(content, self.usage, age=max(0.0, self._read_at - cached_at))

    def finish(self, end: PageEnd) -> Page:
        """Return the page, with the items read beyond it for the same call's next page."""
        return with_read_ahead(self.partial_page(end), self._request, self._merge)

    def _following(self) -> Cursor | None:
        return None if self._merge.exhausted else encode_cursor(self._merge.cursors)

    def _scans_left(self) -> int:
        scans = self._budget.max_scanned_items
        return sys.maxsize if scans is None else scans - self.usage.items_scanned

    def _put_all(self, partition: PartitionStream) -> PageEnd | None:
        """Put the items of the only partition on the page; return why one of them cannot be.

        That one and those after it are withheld, and read again by the next page.
        """
        before = self._items.count
        end = self._items.put_all(partition.items, self._slice)
        count = self._items.count - before
        if count:
            self._merge.note_returned(partition, count)
            self._merge.pop(partition, count)
        elif end is PageEnd.RESPONSE_BYTES and not before:
            raise self._too_large(partition.items[0], partition)
        return end

    def _put(self, item: WireItem | None, partition: PartitionStream) -> PageEnd | None:
        """Put the next item of a partition on the page, unless it is rejected, as `_put_all`."""
        if item is not None:
            end = self._items.put(item)
            if end is PageEnd.RESPONSE_BYTES and not self._items.count:
                raise self._too_large(item, partition)
            if end is not None:
                return end
            self._merge.note_returned(partition)
        self._merge.pop(partition)
        return None

    def _too_large(self, item: WireItem, partition: PartitionStream) -> ItemTooLarge:
        size = len(self._items.encode(item))
        self._merge.pop(partition)
        name = key_text(self._plan.table, item)
        return ItemTooLarge(name, size, self._max_item_bytes, self._following())

    def _item(self, shown: WireItem) -> WireItem | Pending | None:
        """Return the item for the page for one that was read; None for one that is rejected."""
        if self._merge.base is not None:
            return self._merge.base.resolve(shown)
        local_filter = self._plan.local_filter
        return shown if local_filter is None or evaluate(local_filter, shown) else None

    @property
    def _is_full(self) -> bool:
        """Whether the page ends here in any case.

        Where items are hidden it ends only before the next item that is returned: the items that
        happen to be evaluated must not reveal whether there is one.
        """
        return self._items.is_full and not self._plan.hides_cost

    def _end_before_gets(self) -> PageEnd | None:
        """Return why a page ends before more items are got, None when they are.

        Items that were evaluated may be returned also when the scan budget is spent. Some progress
        is always made.
        """
        if self._is_full:
            return PageEnd.PAGE_FULL
        units = Budget(max_read_units=self._budget.max_read_units)
        return units.spent_by(self.usage) if self.has_progress else None
