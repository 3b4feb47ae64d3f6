"""A pager that also counts the items of its whole query."""

from __future__ import annotations

import asyncio

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.pager.pager import (
    CallOptions,
    Pager,
    PageResult,
    PagingStart,
    cancel_and_wait,
)
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    NO_PAGE_LIMIT,
    NO_USAGE,
    START,
    Page,
    PageEnd,
    PageRead,
    PageReader,
    ReadOptions,
    Total,
    total_of,
)


class CountingPager(Pager):
    """Returns pages with a total, counted once, with the first page, by the plan `counting`.

    Up to `bound` items are counted, 0 for all. The count shares the call's time and budget. Where a
    budget of items or read units must be kept, the page is read first, and the count has the rest;
    otherwise both are read at the same time.
    """

    def __init__(
        self,
        reader: PageReader,
        start: PagingStart,
        options: CallOptions,
        counting: Plan,
        bound: int,
    ) -> None:
        super().__init__(reader, start, options)
        self._counting = counting
        self._bound = bound
        self._total: Total | None = None

    async def next_page(self) -> PageResult:
        """Read the next page, with the total."""
        if self._total is not None:
            return (await super().next_page())._replace(total=self._total)
        if self._options.budget.meters_reads:
            result = await super().next_page()
            return self._with_total(result, await self._count_with_rest(result))
        task = asyncio.create_task(self._count(), name="total")
        try:
            return self._with_total(await super().next_page(), await task)
        finally:
            await cancel_and_wait(task)

    def _with_total(self, result: PageResult, count: Page | None) -> PageResult:
        """Return a page with the total and the cost of a count, None for no count."""
        usage, pages = NO_USAGE, result.pages
        if count is None:
            counted, exhausted = result.returned, result.page.content.end is PageEnd.EXHAUSTED
        else:
            usage = count.usage
            counted, exhausted = count.content.count, count.content.next is None
            pages = pages + count.content.digest
            self._read_until = max(self._read_until, count.content.read_until)
            if not exhausted:  # the pages counted the items that were returned
                counted = max(counted, result.returned)
        self._total = total_of(counted, self._bound, exhausted=exhausted)
        self._usage += usage
        page = result.page._replace(usage=result.page.usage + usage)
        return result._replace(
            page=page,
            usage=self._usage,
            total=self._total,
            read_until=self._read_until,
            pages=pages,
        )

    async def _count_with_rest(self, result: PageResult) -> Page | None:
        """Count with the rest of the budget, unless the page tells the total."""
        exhausted = result.page.content.end is PageEnd.EXHAUSTED
        return None if exhausted or self._end_of_call() is not None else await self._count()

    async def _count(self) -> Page | None:
        """Return the page of the counting plan, None if there was no time to read anything."""
        options = ReadOptions(
            page_size=self._bound or NO_PAGE_LIMIT,
            soft_deadline=self._stop,
            hard_deadline=self._deadline,
            budget=self._options.budget.after(self._usage),
            cache=self._options.cache,
        )
        request = PageRead(self._counting, START, options, self._options.caller)
        try:
            return await self._reader.read_page(request)
        except DeadlineExceeded:
            return None
