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
    PrimaryKey,
    Unread,
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
from dynamodb_processor_server.query.planning.projection import apply_projection
from dynamodb_processor_server.reader import (
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
# What may be read of one of several partitions beyond its share of the page.
_MAX_AHEAD: Final = 200
# What may be read of a single partition beyond a stream's page, in items and, about, in read units.
_MAX_STREAM_AHEAD: Final = 100
_MAX_UNITS_AHEAD: Final = 8.0
# Bytes of items that a request evaluates at the least price, and the most items that it does.
_FREE_BYTES: Final = 4096
_MAX_FREE: Final = 100


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
        self.usage = Usage()
        self._request = request
        self._plan = plan
        self._page_size = request.options.page_size
        self._budget = request.options.budget
        self._branches = _partitions_of(request)
        self._began = self._branches.positions
        self._max_bytes = max_bytes
        self._max_item_bytes = max_item_bytes
        self._read_at = now
        self._oldest = min(now, self._branches.read_at or now)
        self._lifetime = EarliestExpiry(plan, now)
        self.paused = False
        self._slice = TimeSlice(pause_after)
        self._chunks: list[bytes] = []
        self._count = 0
        self._bytes = 0

    @property
    def has_progress(self) -> bool:
        """Whether the page stands further than where it began."""
        return self._branches.positions != self._began

    def next_requests(self) -> list[tuple[PartitionStream, dict[str, Any]]]:
        """Return the partitions of which more must be read, each with the request to make.

        A budget is kept to the item, except that the first requests ask every partition for one:
        without that, nothing could be said of the order and no progress be made. Where nothing more
        matches, each request is as large as all since the last match: when few items are missing
        of a large page, their number would make for very many small requests.
        """
        waiting = self._branches.waiting()
        left = self._scans_left()
        if self.usage.backend_calls:
            waiting = waiting[:left]
        share = max(self._share(), self._free())
        most = max(1, min(left // max(1, len(waiting)), _MAX_LIMIT))
        return [
            (
                branch,
                next_request(
                    self._plan,
                    branch.request,
                    branch.position,
                    min(max(share, self._ahead(branch), branch.in_vain), most),
                ),
            )
            for branch in waiting
        ]

    def add(self, branch: PartitionStream, answer: Mapping[str, Any], usage: Usage) -> None:
        """Take in the answer to a request of `next_requests`."""
        self.usage += usage
        branch.evaluated += usage.items_scanned
        branch.in_vain += usage.items_scanned
        branch.units += usage.read_units
        branch.add(answer, self._read_at)

    def missing(self) -> dict[PrimaryKey, WireItem]:
        """Return the keys of the items that must be got before the page can go on.

        There are none where the page waits for `next_requests`. No more are got than are likely to
        go on the page and than the budget may pay for, but one always is.
        """
        branches, base = self._branches, self._branches.base
        if base is None or branches.waiting():
            return {}
        wanted = base.selected(max(1, self._page_size - self._count), branches.delivered)
        size = self._item_bytes
        if self._bytes:
            wanted = min(wanted, self._fitting)
        elif size is not None:
            wanted = min(wanted, int(self._max_bytes / size) + 1)
        units = self._budget.after(self.usage).max_read_units
        if units is not None:
            wanted = min(wanted, int(units / UNITS_PER_GET))
        return base.missing(branches.upcoming(), base.batch_size(max(1, wanted)))

    def hydrate(self, got: Got, usage: Usage) -> None:
        """Take in items that were got."""
        assert self._branches.base is not None, "the plan does not hydrate"
        self.usage += usage
        self._branches.base.add(got, usage)

    def fill(self) -> PageEnd | None:
        """Take what the answers allow; return why the page ends, None when more must be read.

        None is also returned, and `paused` set, when its time is over between two items: then the
        next call goes on behind them.
        """
        branches = self._branches
        self.paused = False
        self._slice.begin()
        while not branches.waiting():
            branch = branches.next()
            if branch is None:
                return PageEnd.EXHAUSTED
            item = self._item(branch.items[0])
            if item is PENDING:
                return self._end_before_gets()
            if item is not None:
                end = self._deliver(item, branch)
                if end is not None:
                    return end  # the item is withheld, and read again by the next page
                branches.note_returned(branch)
            branches.pop(branch)
            if self._slice.over:
                self.paused = True
                return None
        if self._is_full:
            return PageEnd.PAGE_FULL
        return self._budget.spent_by(self.usage)

    def partial_page(self, end: PageEnd) -> Page:
        """Return what has been gathered so far as a page that ends for a reason."""
        branches = self._branches
        following = None if branches.exhausted else encode_cursor(branches.positions)
        content = PageContent(
            b"".join(self._chunks),
            self._count,
            following,
            end,
            self._oldest,
            self._lifetime.until,
        )
        return Page(content, self.usage)

    def finish(self, end: PageEnd) -> Page:
        """Return the page, with the items read beyond it for the same call's next page."""
        page = self.partial_page(end)
        following = page.content.next
        if following is None or not self._request.options.reads_on:
            return page
        read_ahead = ReadAhead(following, self._branches, self._request.snapshot)
        return page._replace(read_ahead=read_ahead)

    def _share(self) -> int:
        """Return how many items of each partition are likely to fill the page.

        Where nearly every evaluated item is returned, as many as are missing; else as many as the
        share of matches in this call suggests (at first one half), so that a rare match takes few
        requests and a common one wastes little. Several partitions share the number, and each
        brings one more, so that the merge seldom waits for a single one.
        """
        wanted = missing = max(1, self._page_size - self._count)
        if self._bytes:
            wanted = missing = min(missing, self._fitting)
        if not self._plan.exact_limit:
            matches, evaluated = self._branches.matches + 1, self._branches.evaluated + 2
            wanted = math.ceil(missing * evaluated / matches)
        unread = self._branches.unread
        return max(1, wanted if unread < 2 else math.ceil(wanted / unread) + 1)

    @property
    def _fitting(self) -> int:
        """How many items are likely to find room yet, and one more, which shows that it has none.

        There must be items on the page.
        """
        return (self._max_bytes - self._bytes) * self._count // self._bytes + 1

    def _scans_left(self) -> int:
        scans = self._budget.after(self.usage).max_scanned_items
        return sys.maxsize if scans is None else scans

    @property
    def _item_bytes(self) -> float | None:
        """How large an item of the table is on average, None where that is not known.

        Under a row rule it is not looked at: how many requests are made would tell of other items.
        """
        return self._plan.table.schema.item_bytes if self._plan.rule is None else None

    def _free(self) -> int:
        """Return how many items a filter may be asked about at the price of one."""
        size = self._item_bytes
        if self._plan.exact_limit or size is None:
            return 0
        return min(int(_FREE_BYTES / size), _MAX_FREE)

    def _ahead(self, branch: PartitionStream) -> int:
        """Return how many items of a partition are worth reading for its own sake.

        As many as the call has had of it: one of several partitions, or of a stream with small
        pages, is asked ever more seldom. What is read beyond the page is kept for the next one; so
        where there may be none, or a budget is counted, a single partition is not read ahead.
        """
        if len(self._plan.requests) > 1:
            return min(branch.evaluated, _MAX_AHEAD)
        reads_on = self._request.options.reads_on
        if not reads_on or self._budget.meters_reads or not branch.evaluated:
            return 0
        affordable = _MAX_UNITS_AHEAD * branch.evaluated / max(branch.units, 0.5)
        return min(branch.evaluated, _MAX_STREAM_AHEAD, int(affordable))

    def _deliver(self, item: WireItem, branch: PartitionStream) -> PageEnd | None:
        """Put an item on the page, or return why it cannot be."""
        if self._count == self._page_size:
            return PageEnd.PAGE_FULL
        if not self._plan.counts:
            chunk = encode_item(apply_projection(item, self._plan.projection))
            if self._count and self._bytes + len(chunk) > self._max_bytes:
                return PageEnd.RESPONSE_BYTES
            if len(chunk) > self._max_item_bytes:
                if self._count:
                    return PageEnd.RESPONSE_BYTES  # it is the first of the next page
                raise self._too_large(item, branch, len(chunk))
            self._chunks.append(chunk)
            self._bytes += len(chunk)
        self._lifetime.add(item)
        self._count += 1
        return None

    def _too_large(self, item: WireItem, branch: PartitionStream, size: int) -> ItemTooLarge:
        self._branches.pop(branch)
        behind = None if self._branches.exhausted else encode_cursor(self._branches.positions)
        name = key_text(self._plan.table, item)
        return ItemTooLarge(name, size, self._max_item_bytes, behind)

    def _item(self, shown: WireItem) -> WireItem | Unread | None:
        """Return the item to return for one that was read; None for one that is rejected."""
        if self._branches.base is not None:
            return self._branches.base.resolve(shown)
        local_filter = self._plan.local_filter
        return shown if local_filter is None or evaluate(local_filter, shown) else None

    @property
    def _is_full(self) -> bool:
        """Whether the page ends here, whatever follows.

        Where items are hidden it ends only before the next item that is returned: whether there is
        one must not be told by what happens to be evaluated.
        """
        return self._count == self._page_size and not self._plan.hides_cost

    def _end_before_gets(self) -> PageEnd | None:
        """Return why a page ends before more items are got, None when they are.

        What was evaluated may be returned whatever the scan budget. Some progress is always made.
        """
        if self._is_full:
            return PageEnd.PAGE_FULL
        units = Budget(max_read_units=self._budget.max_read_units)
        return units.spent_by(self.usage) if self.has_progress else None
