"""One call's walk over the pages of a query.

A unary call takes one turn, a stream takes all of them, reading one page ahead while the last one
is being written. The walk keeps the account of what the whole call may still take.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    DEFAULT_CACHE_POLICY,
    NO_USAGE,
    CachePolicy,
    Cursor,
    Page,
    PageEnd,
    PageReader,
    ReadAheadBuffer,
    ReadOptions,
    Total,
    Usage,
)


@dataclass(frozen=True, slots=True)
class Budget:
    """What one call may take; None means no limit. `max_duration` is in seconds."""

    max_scanned_items: int | None = None
    max_read_units: float | None = None
    max_duration: float | None = None

    @property
    def meters_reads(self) -> bool:
        """Whether it bounds what is read, and not only the time."""
        return self.max_scanned_items is not None or self.max_read_units is not None


NO_BUDGET = Budget()


class CallOptions(NamedTuple):
    """What a call asks for besides the query.

    `seconds` is the time left until the caller's deadline. `interval` is after how many seconds
    a stream reports progress although its page is not full; None means never.
    """

    page_size: int
    seconds: float
    budget: Budget = NO_BUDGET
    cache: CachePolicy = DEFAULT_CACHE_POLICY
    interval: float | None = None

    def deadlines(self, now: float) -> tuple[float, float]:
        """Return when to stop reading and when to have stopped, of the event loop's clock.

        An answer has to travel: what is left `now` is not spent to the last millisecond.
        """
        margin = min(0.25, self.seconds / 10)
        stop = now + self.seconds - margin
        if self.budget.max_duration is not None:
            stop = min(stop, now + self.budget.max_duration)
        return stop, now + self.seconds - margin / 2

    def read_options(self) -> ReadOptions:
        """Return the limits of a call that reads once."""
        stop, deadline = self.deadlines(asyncio.get_running_loop().time())
        return ReadOptions(
            self.page_size, stop, deadline, max_read_units=self.budget.max_read_units
        )


class PageResult(NamedTuple):
    """One page of a walk, and where the walk stands after it.

    `returned` counts the items of the whole traversal, earlier calls included; `items` and `usage`
    are this call's so far. `last` says that the call ends here. `total` is how many items the whole
    query matches, where that was asked for; what counting them took is part of the usage.
    """

    page: Page
    returned: int
    items: int
    usage: Usage
    last: bool
    total: Total | None = None


class Pager:
    """A walk that begins at `at`, `returned` items into a traversal of at most `max_items`."""

    def __init__(
        self,
        reader: PageReader,
        plan: Plan,
        terms: CallOptions,
        at: Cursor,
        returned: int,
        max_items: int | None,
    ) -> None:
        self._reader = reader
        self._plan = plan
        self._terms = terms
        self._at: Cursor | None = at
        self._returned = returned
        self._max_items = max_items
        self._items = 0
        self._usage = NO_USAGE
        self._surplus: ReadAheadBuffer | None = None
        self._loop = asyncio.get_running_loop()
        self._stop, self._deadline = terms.deadlines(self._loop.time())

    @property
    def returned(self) -> int:
        """How many items of the whole traversal were returned so far."""
        return self._returned

    async def next_page(self) -> PageResult:
        """Read the next page and move on behind it."""
        assert self._at is not None, "the walk has ended"
        page = await self._reader.read_page(self._plan, self._at, self._read_options())
        content = page.content
        self._returned += content.count
        self._items += content.count
        if page.usage is not NO_USAGE:  # as it is at each hit
            self._usage += page.usage
        if self._max_items is not None and self._returned >= self._max_items:
            content = replace(content, next=None, end=PageEnd.MAX_ITEMS)
            page = page._replace(content=content)
        self._at = content.next
        return PageResult(page, self._returned, self._items, self._usage, last=content.next is None)

    async def pages(self) -> AsyncGenerator[PageResult]:
        """Read every page, one ahead of the caller, until the end or until a budget is spent."""
        self._surplus = ReadAheadBuffer()
        step = self._mark_last_if_budget_spent(await self.next_page())
        while not step.last:
            ahead = asyncio.create_task(self.next_page(), name="read-ahead")
            try:
                yield step
                step = self._mark_last_if_budget_spent(await ahead)
            except DeadlineExceeded:
                step = _ended_by_time(step)
            finally:
                await cancel_and_wait(ahead)
        yield step

    def _read_options(self) -> ReadOptions:
        terms, budget = self._terms, self._terms.budget
        page_size = terms.page_size
        if self._max_items is not None:
            page_size = min(page_size, self._max_items - self._returned)
        answer_by = self._stop
        if terms.interval is not None:
            answer_by = min(answer_by, self._loop.time() + terms.interval)
        scanned, units = budget.max_scanned_items, budget.max_read_units
        return ReadOptions(
            page_size=page_size,
            soft_deadline=answer_by,
            hard_deadline=self._deadline,
            max_scanned_items=None if scanned is None else scanned - self._usage.items_scanned,
            max_read_units=None if units is None else units - self._usage.read_units,
            has_duration=budget.max_duration is not None,
            cache=terms.cache,
            surplus=self._surplus,
        )

    def _mark_last_if_budget_spent(self, step: PageResult) -> PageResult:
        """Mark the step after which nothing more may be read, with the reason."""
        if step.last:
            return step
        reason = self._spent()
        if reason is None:
            return step
        content = replace(step.page.content, end=reason)
        return step._replace(page=step.page._replace(content=content), last=True)

    def _spent(self) -> PageEnd | None:
        budget, usage = self._terms.budget, self._usage
        scanned, units = budget.max_scanned_items, budget.max_read_units
        if scanned is not None and usage.items_scanned >= scanned:
            return PageEnd.SCAN_BUDGET
        if units is not None and usage.read_units >= units:
            return PageEnd.READ_UNIT_BUDGET
        return PageEnd.TIME_BUDGET if self._loop.time() >= self._stop else None


def _ended_by_time(step: PageResult) -> PageResult:
    """Return the end of a call whose deadline passed with nothing to show after `step`."""
    content = replace(step.page.content, items=b"", count=0, end=PageEnd.TIME_BUDGET)
    page = step.page._replace(content=content, usage=NO_USAGE)
    return step._replace(page=page, last=True)


async def cancel_and_wait(task: asyncio.Task[Any]) -> None:
    """Make sure that a task has ended and that its failure, if any, is not reported as unseen."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()
