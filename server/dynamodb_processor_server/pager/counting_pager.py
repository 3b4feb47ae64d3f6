"""A walk that also tells how many items its query matches in all."""

from __future__ import annotations

import asyncio

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.pager.pager import CallOptions, Pager, PageResult, cancel_and_wait
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    NO_PAGE_LIMIT,
    NO_USAGE,
    START,
    Cursor,
    Page,
    PageEnd,
    PageReader,
    ReadOptions,
    Total,
    Usage,
    total_of,
)


class CountingPager(Pager):
    """A walk whose steps have a total, counted once, with the first page, by the plan `counting`.

    `bound` is up to how many items are counted, 0 for all. The count shares the call's time and
    budget. Where a budget of items or read units must be kept, the page is read first, and the
    count has what is left; else both are read at the same time.
    """

    def __init__(
        self,
        reader: PageReader,
        plan: Plan,
        terms: CallOptions,
        at: Cursor,
        returned: int,
        max_items: int | None,
        counting: Plan,
        bound: int,
    ) -> None:
        super().__init__(reader, plan, terms, at, returned, max_items)
        self._counting = counting
        self._bound = bound
        self._total: Total | None = None

    async def next_page(self) -> PageResult:
        """Read the next page and move on behind it, with the total."""
        if self._total is not None:
            step = await super().next_page()
            return step._replace(total=self._total)
        if self._terms.budget.meters_reads:
            step = await super().next_page()
            return self._counted(step, await self._count_the_rest(step))
        task = asyncio.create_task(self._count(), name="total")
        try:
            return self._counted(await super().next_page(), await task)
        finally:
            await cancel_and_wait(task)

    def _counted(self, step: PageResult, count: Page | None) -> PageResult:
        """Return a step with the total that a count gave, None for none, and with its cost."""
        everything = step.page.content.end is PageEnd.EXHAUSTED
        usage = NO_USAGE
        if count is None:
            counted, exhausted = step.returned, everything
        else:
            usage = count.usage
            counted, exhausted = count.content.count, count.content.next is None
            if not exhausted:  # what was returned was counted by the pages
                counted = max(counted, step.returned)
        self._total = total_of(counted, self._bound, exhausted=exhausted)
        return self._charged(step, usage)

    def _charged(self, step: PageResult, usage: Usage) -> PageResult:
        self._usage += usage
        page = step.page._replace(usage=step.page.usage + usage)
        return step._replace(page=page, usage=self._usage, total=self._total)

    async def _count_the_rest(self, step: PageResult) -> Page | None:
        """Count with what the page has left of the budget, unless the page says it all."""
        if step.page.content.end is PageEnd.EXHAUSTED or self._spent() is not None:
            return None
        return await self._count()

    async def _count(self) -> Page | None:
        """Return the page of the counting plan, None if there was no time to read anything."""
        limits = self._read_options()
        own = ReadOptions(
            page_size=self._bound or NO_PAGE_LIMIT,
            soft_deadline=self._stop,
            hard_deadline=self._deadline,
            max_scanned_items=limits.max_scanned_items,
            max_read_units=limits.max_read_units,
            has_duration=limits.has_duration,
            cache=limits.cache,
        )
        try:
            return await self._reader.read_page(self._counting, START, own)
        except DeadlineExceeded:
            return None
