"""The items on a page that is being built, as bytes and within the bounds of the page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from dynamodb_processor_server.dynamodb.item_encoding import encode_item, encode_items
from dynamodb_processor_server.dynamodb.item_expiry import EarliestExpiry
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan, ResultProjection
from dynamodb_processor_server.query.planning.projection import apply_projection
from dynamodb_processor_server.reader import (
    BufferedItems,
    Cursor,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    ReadAhead,
)
from dynamodb_processor_server.runtime.time_slices import TimeSlice

_WHOLE_ITEMS: Final = ResultProjection()
#: Items that are encoded together, without a look at the time.
BATCH: Final = 50


class PageItems:
    """Up to `page_size` items of a plan, encoded, or only counted if the plan `counts`.

    `max_bytes` bounds all of them, but a page always takes one, if it has no more than
    `max_item_bytes`. `now` is when the read began, in seconds since the epoch.
    """

    def __init__(
        self, plan: Plan, page_size: int, max_bytes: int, max_item_bytes: int, now: float
    ) -> None:
        self.count = 0
        self._page_size = page_size
        self._max_bytes = max_bytes
        self._max_item_bytes = max_item_bytes
        self._projection = None if plan.projection == _WHOLE_ITEMS else plan.projection
        self._encodes = not plan.counts
        expires = plan.table.config.time_to_live is not None
        self._expiry = EarliestExpiry(plan, now) if expires else None
        self._chunks: list[bytes] = []
        self._bytes = 0

    def content(self, following: Cursor | None, end: PageEnd, read_at: float) -> PageContent:
        """Return the items as the content of a page that ends at a cursor, None for the last one.

        `read_at` is when the oldest of them was read, in seconds since the epoch.
        """
        valid_until = None if self._expiry is None else self._expiry.until
        return PageContent(b"".join(self._chunks), self.count, following, end, read_at, valid_until)

    @property
    def is_full(self) -> bool:
        """Whether there are as many items as the page may have."""
        return self.count == self._page_size

    @property
    def missing(self) -> int:
        """The number of items that the page may still have, at least one."""
        return max(1, self._page_size - self.count)

    def likely_room(self, item_bytes: float | None) -> int | None:
        """Return how many items are likely to fit, plus one that shows that the page is full.

        The size of an item is that of the items on the page so far, or else `item_bytes`. None is
        returned where neither is known.
        """
        if self._bytes:
            return (self._max_bytes - self._bytes) * self.count // self._bytes + 1
        return None if item_bytes is None else int(self._max_bytes / item_bytes) + 1

    def put(self, item: WireItem) -> PageEnd | None:
        """Put an item on the page; return why it cannot be.

        RESPONSE_BYTES on an empty page means that the item is too large for any page.
        """
        if self.is_full:
            return PageEnd.PAGE_FULL
        return self._add(item, self.encode(item) if self._encodes else b"")

    def put_all(self, items: Iterable[WireItem], time_slice: TimeSlice | None) -> PageEnd | None:
        """Put items on the page until the time slice is over, if there is one; return as `put`.

        They are encoded in batches, and no more than are likely to fit.
        """
        rest = iter(items)
        while batch := list(islice(rest, self._batch_size())):
            end = self._add_all(batch)
            if end is not None or (time_slice is not None and time_slice.over):
                return end
        return None if next(rest, None) is None else PageEnd.PAGE_FULL

    def encode(self, item: WireItem) -> bytes:
        """Return the parts of an item that the plan returns, as bytes."""
        projection = self._projection
        return encode_item(item if projection is None else apply_projection(item, projection))

    def _batch_size(self) -> int:
        size = min(BATCH, self._page_size - self.count)
        room = self.likely_room(None)
        return size if room is None else min(size, max(1, room))

    def _add_all(self, items: Sequence[WireItem]) -> PageEnd | None:
        projection = self._projection
        shown = items
        if projection is not None:
            shown = [apply_projection(item, projection) for item in items]
        chunk = encode_items(shown)
        size = len(chunk)
        if size > min(self._max_item_bytes, self._max_bytes - self._bytes):
            ends = map(self._add, items, map(encode_item, shown))
            return next((end for end in ends if end is not None), None)
        self._chunks.append(chunk)
        self._bytes += size
        self.count += len(items)
        if self._expiry is not None:
            self._expiry.add(items)
        return None

    def _add(self, item: WireItem, chunk: bytes) -> PageEnd | None:
        size = len(chunk)
        if size > self._max_item_bytes or (self.count and self._bytes + size > self._max_bytes):
            return PageEnd.RESPONSE_BYTES
        if size:
            self._chunks.append(chunk)
            self._bytes += size
        if self._expiry is not None:
            self._expiry.add((item,))
        self.count += 1
        return None


def with_read_ahead(page: Page, request: PageRead, items: BufferedItems) -> Page:
    """Return a page with the items read beyond it, if the call goes on with the next page."""
    following = page.content.next
    if following is None or not request.options.reads_on:
        return page
    return page._replace(read_ahead=ReadAhead(following, items, request.snapshot))
