"""Complete reads of a query, by pages or as a stream, with checks of every page."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Final

from dynamodb_processor.v1.query_pb2 import Budget, CacheMode, CachePolicy, PageEnd, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from tests.support.channels import Caller
from tests.support.conditions import WireItem
from tests.support.messages import from_item

_FINAL_ENDS: Final = (PageEnd.PAGE_END_EXHAUSTED, PageEnd.PAGE_END_MAX_ITEMS)
_SHORT_ENDS: Final = (
    PageEnd.PAGE_END_SCAN_BUDGET,
    PageEnd.PAGE_END_READ_UNIT_BUDGET,
    PageEnd.PAGE_END_TIME_BUDGET,
    PageEnd.PAGE_END_RESPONSE_BYTES,
)


@dataclass(slots=True)
class PagedRead:
    """Pages in their order. `tokens[n]` is where page `n + 1` begins; the last one is empty."""

    page_size: int
    items: list[WireItem] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    scanned: int = 0
    indexes: set[str] = field(default_factory=set)

    def add(self, page: QueryResponse | StreamQueryResponse, token: str) -> None:
        """Add a page, checking the promises of every page."""
        size = len(page.items)
        _check_end(page.end, size, self.page_size, token)
        assert page.stats.items_returned == size
        assert page.HasField("read_time")
        self.items.extend(map(from_item, page.items))
        self.tokens.append(token)
        self.sizes.append(size)
        self.scanned += page.stats.items_scanned
        self.indexes.add(page.stats.index_used)

    @property
    def index(self) -> str:
        """The index that every page was read from; empty for the table."""
        (index,) = self.indexes
        return index

    def items_until(self, page: int) -> list[WireItem]:
        """Return the items of the pages before and including a page."""
        return self.items[: sum(self.sizes[: page + 1])]


def _check_end(end: PageEnd.ValueType, size: int, page_size: int, token: str) -> None:
    """Check the promises of a page's end: short pages with a token need a reason."""
    name = PageEnd.Name(end)
    assert size <= page_size, f"{size} items on a page of {page_size}"
    assert (token == "") is (end in _FINAL_ENDS), f"{name} with the token {token!r}"
    if end not in _FINAL_ENDS:
        full = end == PageEnd.PAGE_END_PAGE_FULL
        assert full or end in _SHORT_ENDS, name
        assert not full or size == page_size, f"a full page of {size} instead of {page_size}"


async def by_pages(
    caller: Caller,
    query: QuerySpec,
    page_size: int,
    *,
    token: str = "",
    budget: Budget | None = None,
    partitions: int = 1,
    mode: CacheMode.ValueType = CacheMode.CACHE_MODE_UNSPECIFIED,
) -> PagedRead:
    """Read a query of at most so many partitions with one call after another."""
    paged_read = PagedRead(page_size)
    while True:
        page = await caller.query(
            QueryRequest(
                query=query,
                page_size=page_size,
                page_token=token,
                budget=budget,
                cache=CachePolicy(mode=mode),
            )
        )
        before, token = token, page.next_page_token
        assert token == "" or token != before, "a page without progress"
        if budget is not None and budget.HasField("max_scanned_items"):
            # Progress takes an item of each partition.
            assert page.stats.items_scanned <= max(budget.max_scanned_items, partitions)
        paged_read.add(page, token)
        if not token:
            return paged_read


async def by_stream(
    caller: Caller,
    query: QuerySpec,
    page_size: int,
    *,
    token: str = "",
    mode: CacheMode.ValueType = CacheMode.CACHE_MODE_UNSPECIFIED,
    stop_after: int | None = None,
) -> PagedRead:
    """Read a query as a stream; cut it after `stop_after` messages if that is given."""
    request = StreamQueryRequest(
        query=query, page_size=page_size, resume_token=token, cache=CachePolicy(mode=mode)
    )
    paged_read = PagedRead(page_size)
    last: StreamQueryResponse | None = None
    async with aclosing(caller.stream(request)) as messages:
        async for message in messages:
            assert last is None or not last.last, "a message after the last one"
            paged_read.add(message, message.resume_token)
            assert message.sequence == len(paged_read.tokens)
            assert message.cumulative.items_returned == len(paged_read.items)
            assert message.cumulative.items_scanned == paged_read.scanned
            last = message
            if message.sequence == stop_after:
                return paged_read
    assert last is not None
    assert last.last, "a stream that ends without a last message"
    assert last.resume_token == ""
    return paged_read


def joined(*parts: Sequence[WireItem]) -> list[WireItem]:
    """Return the items of several parts, one after another."""
    return [item for part in parts for item in part]
