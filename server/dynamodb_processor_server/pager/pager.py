"""The pages of one call, with the account of its budget.

A unary call reads one page. A stream reads every page, one page ahead while the last one is being
written.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from math import inf
from typing import Any, Final, NamedTuple

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    DEFAULT_CACHE_POLICY,
    NO_BUDGET,
    NO_USAGE,
    START,
    Budget,
    CachePolicy,
    Caller,
    Cursor,
    Page,
    PageEnd,
    PageKey,
    PageRead,
    PageReader,
    ReadAhead,
    ReadOptions,
    Total,
    Usage,
    page_key,
)

_MAX_MARGIN: Final = 0.25  # seconds of a call that are left for its response to travel


class CallOptions(NamedTuple):
    """The options of a call besides its query.

    `interval` is the number of seconds after which a stream reports progress although its page is
    not full; None means never.
    """

    page_size: int
    caller: Caller
    budget: Budget = NO_BUDGET
    cache: CachePolicy = DEFAULT_CACHE_POLICY
    interval: float | None = None

    def deadlines(self, now: float) -> tuple[float, float]:
        """Return when to stop reading and when to have stopped, of the event loop's clock.

        A response has to travel, so some of the time that is left `now` is not used.
        """
        end = self.caller.deadline
        margin = (end - now) / 10
        if margin > _MAX_MARGIN:
            margin = _MAX_MARGIN
        stop = end - margin
        if self.budget.max_duration is not None:
            stop = min(stop, now + self.budget.max_duration)
        return stop, end - margin / 2

    def read_options(self) -> ReadOptions:
        """Return the options of a call that reads once."""
        stop, deadline = self.deadlines(asyncio.get_running_loop().time())
        return ReadOptions(self.page_size, stop, deadline, self.budget, self.cache)


class PagingStart(NamedTuple):
    """The point in a query at which a call begins.

    `returned` items of the query came before `cursor`; at most `max_items` are returned in all.
    `key` is the key of the first page, if it is known.
    """

    plan: Plan
    cursor: Cursor = START
    returned: int = 0
    max_items: int | None = None
    key: PageKey | None = None


class PageResult(NamedTuple):
    """One page of a call, and the state of the call after it.

    `returned` counts the items of the whole query, earlier calls included; `items` and `usage` are
    this call's so far. `last` says that the call ends here. `total` is the number of items of the
    whole query, where the caller requested it; the usage of counting them is part of `usage`.
    `read_until` is when the latest data of the call so far can have been read, in seconds since the
    epoch. `pages` has the digests of the stored pages of which this result consists.
    """

    page: Page
    returned: int
    items: int
    usage: Usage
    last: bool
    total: Total | None = None
    read_until: float = inf
    pages: bytes = b""


def _no_refusal() -> None:
    """Let a stream read on without end."""


class Pager:
    """Reads the pages of a call from its start on."""

    def __init__(self, reader: PageReader, start: PagingStart, options: CallOptions) -> None:
        self._reader = reader
        self._plan = start.plan
        self._cursor: Cursor | None = start.cursor
        self._returned = start.returned
        self._max_items = start.max_items
        self._key = start.key
        self._options = options
        self._items = 0
        self._usage = NO_USAGE
        self._read_until = -inf
        self._reads_on = False
        self._read_ahead: ReadAhead | None = None
        self._loop = asyncio.get_running_loop()
        self._stop, self._deadline = options.deadlines(self._loop.time())

    @property
    def returned(self) -> int:
        """The number of items of the whole query that were returned so far."""
        return self._returned

    async def next_page(self) -> PageResult:
        """Read the next page."""
        assert self._cursor is not None, "the query has ended"
        page = await self._reader.read_page(self._page_read(self._cursor))
        content = page.content
        self._returned += content.count
        self._items += content.count
        if self._usage is NO_USAGE:
            self._usage = page.usage
        elif page.usage is not NO_USAGE:  # as it is at each hit
            self._usage += page.usage
        read_until = max(self._read_until, content.read_until)
        self._read_until = read_until
        if self._max_items is not None and self._returned >= self._max_items:
            content = replace(content, next=None, end=PageEnd.MAX_ITEMS)
            page = page._replace(content=content)
        self._cursor = content.next
        self._read_ahead = page.read_ahead
        is_last, digest = content.next is None, content.digest
        return PageResult(
            page, self._returned, self._items, self._usage, is_last, None, read_until, digest
        )

    async def pages(
        self, refusal: Callable[[], Exception | None] = _no_refusal
    ) -> AsyncGenerator[PageResult]:
        """Read every page, one ahead of the caller, until the end or until a budget is spent.

        `refusal` returns the error for which no further page may be read, None for none. It is
        asked before each read, so that every page that was read, and charged, is yielded before the
        error is raised.
        """
        self._reads_on = True
        result = self._mark_last_if_budget_spent(await self.next_page())
        while not result.last:
            refused = refusal()
            if refused is not None:
                yield result
                raise refused
            ahead = asyncio.create_task(self.next_page(), name="read-ahead")
            try:
                yield result
                result = self._mark_last_if_budget_spent(await ahead)
            except DeadlineExceeded:
                result = _ended_by_time(result)
            finally:
                await cancel_and_wait(ahead)
        yield result

    def _page_read(self, cursor: Cursor) -> PageRead:
        """Return the read of the next page; what is known of it is for that page alone."""
        options, caller = self._page_options(), self._options.caller
        read_ahead, self._read_ahead = self._read_ahead, None
        key, self._key = self._key, None
        if key is None:
            key = page_key(self._plan, cursor, options.page_size)
        return PageRead(self._plan, cursor, options, caller, None, read_ahead, None, key)

    def _page_options(self) -> ReadOptions:
        """Return the options of the next page, with the rest of the call's items and budget."""
        options = self._options
        page_size, budget, stop = options.page_size, options.budget, self._stop
        if self._max_items is not None:
            page_size = min(page_size, self._max_items - self._returned)
        if options.interval is not None:
            stop = min(stop, self._loop.time() + options.interval)
        if budget is not NO_BUDGET:
            budget = budget.after(self._usage)
        return ReadOptions(page_size, stop, self._deadline, budget, options.cache, self._reads_on)

    def _mark_last_if_budget_spent(self, result: PageResult) -> PageResult:
        """Mark the page after which nothing more may be read, with the reason."""
        if result.last:
            return result
        reason = self._end_of_call()
        if reason is None:
            return result
        content = replace(result.page.content, end=reason)
        return result._replace(page=result.page._replace(content=content), last=True)

    def _end_of_call(self) -> PageEnd | None:
        """Return why the call may read nothing more, None if it may."""
        spent = self._options.budget.spent_by(self._usage)
        if spent is not None:
            return spent
        return PageEnd.TIME_BUDGET if self._loop.time() >= self._stop else None


def _ended_by_time(result: PageResult) -> PageResult:
    """Return the end of a call whose deadline passed with nothing to show after `result`."""
    content = replace(result.page.content, items=b"", count=0, end=PageEnd.TIME_BUDGET)
    page = result.page._replace(content=content, usage=NO_USAGE)
    return result._replace(page=page, last=True)


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Make sure that a task has ended and that its failure, if any, is not reported as unseen."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
