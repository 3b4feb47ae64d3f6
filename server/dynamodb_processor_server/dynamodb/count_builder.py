"""Counts, in the form of pages: a page of a counting plan holds a number and no items.

So a count is cached, shared, budgeted and resumed as any page is. DynamoDB counts by itself where
it evaluates the whole condition (`Select=COUNT`). Otherwise the attributes that the service checks
are read. Both cost the same read units. `PageBuilder` counts items that must be got from the table
to be checked.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dynamodb_processor_server.cursor import (
    EXHAUSTED,
    PartitionCursor,
    decode_cursor,
    encode_cursor,
)
from dynamodb_processor_server.dynamodb.item_expiry import EarliestExpiry
from dynamodb_processor_server.dynamodb.partition_merge import next_request
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.reader import (
    NO_PAGE_LIMIT,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    Usage,
)
from dynamodb_processor_server.runtime.time_slices import TimeSlice

# Above this, the 1 MB cap of an answer is the better limit.
_MAX_LIMIT: Final = 10_000
# No answer holds more items than 1 MB has bytes.
_MOST_ITEMS: Final = 1024 * 1024
# Items that the first request evaluates beyond twice the wanted number: up to 4 KB cost nothing.
_FIRST_MARGIN: Final = 32
# From so many matches on their share predicts how many more items are needed; it may err once.
_TELLING_MATCHES: Final = 4
_MAX_CUT_ANSWERS: Final = 1
# Items that an excluded end of a range brings, at either end.
_RANGE_ENDS: Final = 2


class CountedPartition:
    """One partition that is counted; `cursor` follows the items that have been counted.

    `limit` is the `Limit` of the last request, None for as many items as an answer holds.
    """

    def __init__(self, request: Mapping[str, Any], cursor: PartitionCursor) -> None:
        self.request = request
        self.cursor = cursor
        self.limit: int | None = None


@dataclass(slots=True)
class _Unfiltered:
    """An answer of which `seen` items have been looked at."""

    partition: CountedPartition
    content: Mapping[str, Any]
    seen: int = 0
    matches: list[WireItem] = field(default_factory=list)


class CountBuilder:
    """Builds one count, of up to the page size of items; the rest as in `PageBuilder`.

    A bounded count that does not reach its bound takes the requests of the exact count and hardly
    one more: DynamoDB rounds each up to 4 KB, and many small ones take long. So each `Limit` is as
    large as the bound needs by itself, by the share of matches so far. Where that share is unknown,
    or was wrong, a request takes as many items as an answer holds. One partition is read at first,
    then as many at the same time as the bound is likely to need.
    """

    def __init__(self, request: PageRead, now: float, pause_after: float = math.inf) -> None:
        plan, options = request.plan, request.options
        self.usage = Usage()
        self.paused = False
        self._slice = TimeSlice(pause_after)
        self._unfiltered: deque[_Unfiltered] = deque()
        self._plan = plan
        self._page_size = options.page_size
        self._budget = options.budget
        self._read_at = now
        self._expiry = EarliestExpiry(plan, now)
        self._count = 0
        self._cut_answers = 0  # those that a `Limit` cut short
        self._whole_answers = 0  # the others
        # Where items are hidden, the bound is reached only once one item more is known: the items
        # that happen to be evaluated must not reveal whether there is one.
        self._enough = options.page_size + plan.hides_cost
        cursors = decode_cursor(request.cursor, len(plan.requests))
        self._began = cursors
        self._partitions = [
            CountedPartition(request, cursor)
            for request, cursor in zip(plan.requests, cursors, strict=True)
        ]

    @property
    def has_progress(self) -> bool:
        """Whether the count ends further than where it began."""
        return [partition.cursor for partition in self._partitions] != self._began

    def next_requests(self) -> list[tuple[CountedPartition, dict[str, Any]]]:
        """Return the partitions to go on with, all at the same time, each with its request.

        A budget is kept to the item: when it is down to fewer items than there are partitions, the
        last ones wait. Nothing has to be merged, so any of them makes progress.
        """
        waiting = [one for one in self._partitions if one.cursor is not EXHAUSTED]
        scans = self._budget.after(self.usage).max_scanned_items
        left = sys.maxsize if scans is None else scans
        waiting = waiting[: min(self._breadth(), left)]
        limit = min(self._request_limit(), left // max(1, len(waiting)))
        needless = _MAX_LIMIT if scans is None else _MOST_ITEMS
        for partition in waiting:
            partition.limit = limit if limit <= needless else None
        return [
            (one, next_request(self._plan, one.request, one.cursor, one.limit)) for one in waiting
        ]

    def add(self, partition: CountedPartition, answer: Mapping[str, Any], usage: Usage) -> None:
        """Add the answer to a request of `next_requests`."""
        self.usage += usage
        if "LastEvaluatedKey" in answer and partition.limit == usage.items_scanned:
            self._cut_answers += 1
        else:
            self._whole_answers += 1
        if self._plan.local_filter is not None:
            self._unfiltered.append(_Unfiltered(partition, answer))
        else:
            self._count += answer["Count"]
            partition.cursor = answer.get("LastEvaluatedKey") or EXHAUSTED

    def fill(self) -> PageEnd | None:
        """Count the items that were read; return why counting ends, None when more must be read.

        None is also returned, and `paused` set, when the time slice is over between two items: then
        the next call goes on behind them.
        """
        self.paused = False
        self._slice.begin()
        while self._unfiltered:
            if not self._filter(self._unfiltered[0]):
                self.paused = True
                return None
            self._unfiltered.popleft()
        if all(partition.cursor is EXHAUSTED for partition in self._partitions):
            return PageEnd.EXHAUSTED
        if self._count >= self._enough:
            return PageEnd.PAGE_FULL
        return self._budget.spent_by(self.usage)

    def _filter(self, answer: _Unfiltered) -> bool:
        """Count the items of an answer that match; return False if the slice is over before."""
        local_filter = self._plan.local_filter
        items = answer.content["Items"]
        while answer.seen < len(items):
            item = items[answer.seen]
            answer.seen += 1
            if local_filter is None or evaluate(local_filter, item):
                answer.matches.append(item)
            if self._slice.over:
                return False
        self._count += len(answer.matches)
        self._expiry.add(answer.matches)
        # The count stands behind an answer when all of it has been counted.
        answer.partition.cursor = answer.content.get("LastEvaluatedKey") or EXHAUSTED
        return True

    def partial_page(self, end: PageEnd) -> Page:
        """Return the count so far as a page that ends for a reason."""
        cursors = [partition.cursor for partition in self._partitions]
        following = None if end is PageEnd.EXHAUSTED else encode_cursor(cursors)
        until = self._expiry.until
        content = PageContent(b"", self._count, following, end, self._read_at, until)
        return Page(content, self.usage)

    finish = partial_page

    def _breadth(self) -> int:
        """Return how many partitions to ask at the same time.

        Where nothing matches, the number doubles with each round.
        """
        if self._page_size >= NO_PAGE_LIMIT:
            return sys.maxsize
        if not self._whole_answers:
            return 1
        per_answer = (self.usage.items_scanned + 0.5) / self._whole_answers
        return math.ceil(self._items_needed() / per_answer)

    def _items_needed(self) -> float:
        """Return how many items must be evaluated to reach the bound, by the matches so far."""
        wanted = self._enough - self._count
        if self._plan.exact_limit:
            return wanted
        return wanted * (self.usage.items_scanned + 2) / (self._count + 1)

    def _request_limit(self) -> int:
        """Return the `Limit` with which one request is likely to reach the bound by itself."""
        wanted = self._enough - self._count
        if self._cut_answers > _MAX_CUT_ANSWERS:
            return sys.maxsize
        if self._plan.exact_limit:
            return wanted if self._plan.local_filter is None else wanted + _RANGE_ENDS
        if not self.usage.items_scanned:
            return 2 * wanted + _FIRST_MARGIN
        if self._count < _TELLING_MATCHES:
            return sys.maxsize
        # Three standard deviations of the share of matches so far.
        return math.ceil(self._items_needed() * (1 + 3 / math.sqrt(self._count)))
