"""Builds one page from DynamoDB's answers.

DynamoDB's `Limit` counts evaluated items, a page counts returned ones: answers are added until the
page is full, everything is exhausted or a limit is reached.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any, Final

from dynamodb_processor_server.cursor import decode_cursor, encode_cursor
from dynamodb_processor_server.dynamodb.hydration import (
    PENDING,
    UNITS_PER_GET,
    Got,
    Pending,
    PrimaryKey,
)
from dynamodb_processor_server.dynamodb.item_encoding import encode_item
from dynamodb_processor_server.dynamodb.item_expiry import EarliestExpiry
from dynamodb_processor_server.dynamodb.oversized_items import MAX_ITEM_BYTES, key_text
from dynamodb_processor_server.dynamodb.partition_merge import (
    PartitionMerge,
    PartitionStream,
    next_request,
)
from dynamodb_processor_server.errors import ItemTooLarge
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import ResultProjection
from dynamodb_processor_server.query.planning.projection import apply_projection
from dynamodb_processor_server.reader import (
    NO_USAGE,
    Budget,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    ReadAhead,
    Usage,
)
from dynamodb_processor_server.runtime.time_slices import TimeSlice

# Beyond this many items the 1 MB cap of a DynamoDB answer decides anyway.
_MAX_LIMIT: Final = 10_000
# Items that may be read of one of several partitions beyond its share of the page.
_MAX_AHEAD: Final = 200
# Items and, about, read units that may be read of a single partition beyond a stream's page.
_MAX_STREAM_AHEAD: Final = 100
_MAX_UNITS_AHEAD: Final = 8.0
# Bytes of items that a request evaluates at the least price, and the most items that it does.
_FREE_BYTES: Final = 4096
_MAX_FREE: Final = 100
_WHOLE_ITEMS: Final = ResultProjection()


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
        self._page_size = request.options.page_size
        self._budget = request.options.budget
        self._merge = _partitions_of(request)
        self._began = self._merge.cursors
        self._max_bytes = max_bytes
        self._max_item_bytes = max_item_bytes
        self._read_at = now
        self._oldest = min(now, self._merge.read_at or now)
        self._projects = plan.projection != _WHOLE_ITEMS
        expires = plan.table.config.time_to_live is not None
        self._expiry = EarliestExpiry(plan, now) if expires else None
        self.paused = False
        self._slice = TimeSlice(pause_after)
        self._chunks: list[bytes] = []
        self._count = 0
        self._bytes = 0

    @property
    def has_progress(self) -> bool:
        """Whether the page ends further than where it began."""
        return self._merge.cursors != self._began

    def next_requests(self) -> list[tuple[PartitionStream, dict[str, Any]]]:
        """Return the partitions of which more must be read, each with the request to make.

        A budget is kept to the item, except that the first requests ask every partition for one:
        without that, the order would be unknown and no progress be made. While nothing matches,
        each request is as large as all requests since the last match: few items that are missing of
        a large page would otherwise take very many small requests.
        """
        waiting = self._merge.waiting()
        left = self._scans_left()
        if self.usage.backend_calls:
            waiting = waiting[:left]
        share = max(self._share(), self._free())
        most = max(1, min(left // max(1, len(waiting)), _MAX_LIMIT))
        return [
            (
                partition,
                next_request(
                    self._plan,
                    partition.request,
                    partition.cursor,
                    min(max(share, self._ahead(partition), partition.in_vain), most),
                ),
            )
            for partition in waiting
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

        There are none while the page waits for `next_requests`. There are no more than are likely
        to go on the page and than the budget can pay for, but at least one.
        """
        merge, base = self._merge, self._merge.base
        if base is None or merge.waiting():
            return {}
        wanted = base.selected(max(1, self._page_size - self._count), merge.delivered)
        size = self._item_bytes
        if self._bytes:
            wanted = min(wanted, self._fitting)
        elif size is not None:
            wanted = min(wanted, int(self._max_bytes / size) + 1)
        units = self._budget.after(self.usage).max_read_units
        if units is not None:
            wanted = min(wanted, int(units / UNITS_PER_GET))
        return base.missing(merge.upcoming(), base.batch_size(max(1, wanted)))

    def hydrate(self, got: Got, usage: Usage) -> None:
        """Add items that were got by key."""
        assert self._merge.base is not None, "the plan does not hydrate"
        self.usage += usage
        self._merge.base.add(got, usage)

    def fill(self) -> PageEnd | None:
        """Put items on the page; return why it ends, None when more must be read.

        None is also returned, and `paused` set, when the time slice is over between two items: then
        the next call goes on behind them.
        """
        merge = self._merge
        self.paused = False
        self._slice.begin()
        while not merge.waiting():
            partition = merge.next()
            if partition is None:
                return PageEnd.EXHAUSTED
            item = self._item(partition.items[0])
            if item is PENDING:
                return self._end_before_gets()
            if item is not None:
                end = self._deliver(item, partition)
                if end is not None:
                    return end  # the item is withheld, and read again by the next page
                merge.note_returned(partition)
            merge.pop(partition)
            if self._slice.over:
                self.paused = True
                return None
        if self._is_full:
            return PageEnd.PAGE_FULL
        return self._budget.spent_by(self.usage)

    def partial_page(self, end: PageEnd) -> Page:
        """Return the items so far as a page that ends for a reason."""
        merge = self._merge
        following = None if merge.exhausted else encode_cursor(merge.cursors)
        content = PageContent(
            b"".join(self._chunks),
            self._count,
            following,
            end,
            self._oldest,
            None if self._expiry is None else self._expiry.until,
        )
        return Page(content, self.usage)

    def finish(self, end: PageEnd) -> Page:
        """Return the page, with the items read beyond it for the same call's next page."""
        page = self.partial_page(end)
        following = page.content.next
        if following is None or not self._request.options.reads_on:
            return page
        read_ahead = ReadAhead(following, self._merge, self._request.snapshot)
        return page._replace(read_ahead=read_ahead)

    def _share(self) -> int:
        """Return the number of items of each partition that are likely to fill the page.

        Where nearly every evaluated item is returned, as many as are missing; else as many as the
        share of matches in this call suggests (at first one half), so that a rare match takes few
        requests and a common one wastes little. Several partitions share the number, and each
        brings one more, so that the merge seldom waits for a single one.
        """
        wanted = missing = max(1, self._page_size - self._count)
        if self._bytes:
            wanted = missing = min(missing, self._fitting)
        if not self._plan.exact_limit:
            matches, evaluated = self._merge.matches + 1, self._merge.evaluated + 2
            wanted = math.ceil(missing * evaluated / matches)
        unread = self._merge.unread
        return max(1, wanted if unread < 2 else math.ceil(wanted / unread) + 1)

    @property
    def _fitting(self) -> int:
        """The number of items that are likely to fit, plus one that shows that the page is full.

        There must be items on the page.
        """
        return (self._max_bytes - self._bytes) * self._count // self._bytes + 1

    def _scans_left(self) -> int:
        scans = self._budget.max_scanned_items
        return sys.maxsize if scans is None else scans - self.usage.items_scanned

    @property
    def _item_bytes(self) -> float | None:
        """The average size of the table's items, None where that is not known.

        Under a row rule it is not used: the number of requests would reveal other items.
        """
        return self._plan.table.schema.item_bytes if self._plan.rule is None else None

    def _free(self) -> int:
        """Return the number of items that a filter can evaluate at the price of one."""
        size = self._item_bytes
        if self._plan.exact_limit or size is None:
            return 0
        return min(int(_FREE_BYTES / size), _MAX_FREE)

    def _ahead(self, partition: PartitionStream) -> int:
        """Return the number of items of a partition that are worth reading beyond the page.

        It is the number that the call has read of it so far. So one of several partitions, or that
        of a stream with small pages, takes ever fewer requests. Items beyond the page are kept for
        the next one. A single partition is not read ahead where no page may follow, or where a
        budget is counted.
        """
        if len(self._plan.requests) > 1:
            return min(partition.evaluated, _MAX_AHEAD)
        reads_on = self._request.options.reads_on
        if not reads_on or self._budget.meters_reads or not partition.evaluated:
            return 0
        affordable = _MAX_UNITS_AHEAD * partition.evaluated / max(partition.units, 0.5)
        return min(partition.evaluated, _MAX_STREAM_AHEAD, int(affordable))

    def _deliver(self, item: WireItem, partition: PartitionStream) -> PageEnd | None:
        """Put an item on the page, or return why it cannot be."""
        if self._count == self._page_size:
            return PageEnd.PAGE_FULL
        if not self._plan.counts:
            kept = apply_projection(item, self._plan.projection) if self._projects else item
            chunk = encode_item(kept)
            if self._count and self._bytes + len(chunk) > self._max_bytes:
                return PageEnd.RESPONSE_BYTES
            if len(chunk) > self._max_item_bytes:
                if self._count:
                    return PageEnd.RESPONSE_BYTES  # it is the first of the next page
                raise self._too_large(item, partition, len(chunk))
            self._chunks.append(chunk)
            self._bytes += len(chunk)
        if self._expiry is not None:
            self._expiry.add(item)
        self._count += 1
        return None

    def _too_large(self, item: WireItem, partition: PartitionStream, size: int) -> ItemTooLarge:
        self._merge.pop(partition)
        behind = None if self._merge.exhausted else encode_cursor(self._merge.cursors)
        name = key_text(self._plan.table, item)
        return ItemTooLarge(name, size, self._max_item_bytes, behind)

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
        return self._count == self._page_size and not self._plan.hides_cost

    def _end_before_gets(self) -> PageEnd | None:
        """Return why a page ends before more items are got, None when they are.

        Items that were evaluated may be returned also when the scan budget is spent. Some progress
        is always made.
        """
        if self._is_full:
            return PageEnd.PAGE_FULL
        units = Budget(max_read_units=self._budget.max_read_units)
        return units.spent_by(self.usage) if self.has_progress else None
