"""The pages of one call: its budget, its end, and one prefetched page."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import pytest

from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded
from dynamodb_processor_server.pager.pager import CallOptions, Pager, PageResult, PagingStart
from dynamodb_processor_server.reader import (
    NO_USAGE,
    START,
    Budget,
    Caller,
    Cursor,
    Page,
    PageEnd,
    PageRead,
    PageReader,
    ReadAhead,
)
from tests.support.fake_reader import UNITS_PER_ITEM, InMemoryReader, items_of
from tests.support.reads import PRINCIPAL
from tests.support.warped_time import warped
from tests.unit.dynamodb.small_table import make_items, make_plan

ITEMS: Final = make_items(25)
PLAN: Final = make_plan()


@dataclass(frozen=True, slots=True)
class _Ahead:
    read_at: float | None = 1_000.0


AHEAD: Final = _Ahead()


class ScriptedReader:
    """Reads from memory, but takes `seconds` for each page and fails at the page `fails_at`."""

    def __init__(
        self,
        seconds: float = 0.0,
        fails_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.inner = InMemoryReader(ITEMS)
        self.requests: list[PageRead] = []
        self.cancelled = 0
        self._seconds = seconds
        self._fails_at = fails_at
        self._error = error or BackendUnavailable("broken")

    async def read_page(self, request: PageRead) -> Page:
        """Return the next page, in time, with AHEAD if the call reads on."""
        self.requests.append(request)
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if len(self.requests) == self._fails_at:
            raise self._error
        page = await self.inner.read_page(request)
        if not request.options.reads_on or page.content.next is None:
            return page
        return page._replace(read_ahead=ReadAhead(page.content.next, AHEAD))


def open_pager(
    reader: PageReader,
    *,
    returned: int = 0,
    max_items: int | None = None,
    page_size: int = 10,
    seconds: float = 60.0,
    cursor: Cursor = START,
    **options: Any,
) -> Pager:
    """Return the pager of a call, from the start and with a minute's time unless given."""
    caller = Caller(PRINCIPAL, asyncio.get_running_loop().time() + seconds)
    start = PagingStart(PLAN, cursor, returned, max_items)
    return Pager(reader, start, CallOptions(page_size, caller, **options))


async def collect(pager: Pager) -> list[PageResult]:
    """Return every page of a call."""
    return [step async for step in pager.pages()]


def ends(steps: list[PageResult]) -> list[PageEnd]:
    """Return the end reason of each page."""
    return [step.page.content.end for step in steps]


def delivered(steps: list[PageResult]) -> list[dict[str, Any]]:
    """Return all items of all pages."""
    return [item for step in steps for item in items_of(step.page)]


@warped
async def test_all_pages_come_and_the_last_says_so() -> None:
    """The statistics are of this call, but for `returned`, which counts over all calls."""
    steps = await collect(open_pager(InMemoryReader(ITEMS), returned=100))
    assert delivered(steps) == ITEMS
    assert ends(steps) == [PageEnd.PAGE_FULL, PageEnd.PAGE_FULL, PageEnd.EXHAUSTED]
    assert [step.last for step in steps] == [False, False, True]
    assert [step.items for step in steps] == [10, 20, 25]
    assert [step.returned for step in steps] == [110, 120, 125]
    assert [step.usage.items_scanned for step in steps] == [10, 20, 25]
    assert steps[-1].usage == sum((step.page.usage for step in steps), NO_USAGE)


@warped
async def test_a_unary_call_reads_one_page() -> None:
    """The next page begins where it ended, and no page is read ahead."""
    reader = InMemoryReader(ITEMS)
    step = await open_pager(reader).next_page()
    assert items_of(step.page) == ITEMS[:10]
    assert not step.last
    assert len(reader.calls) == 1
    follow = open_pager(reader, page_size=20, cursor=step.page.content.next or b"", returned=10)
    step = await follow.next_page()
    assert items_of(step.page) == ITEMS[10:]
    assert step.last
    assert step.page.content.end is PageEnd.EXHAUSTED


@pytest.mark.parametrize(
    ("returned", "max_items", "sizes"), [(0, 25, [10, 10, 5]), (7, 20, [10, 3])]
)
@warped
async def test_a_call_ends_at_max_items(returned: int, max_items: int, sizes: list[int]) -> None:
    """The bound holds over all calls; the last page has no more than the rest, and none follows."""
    steps = await collect(
        open_pager(InMemoryReader(make_items(99)), returned=returned, max_items=max_items)
    )
    assert [step.page.content.count for step in steps] == sizes
    assert steps[-1].returned == max_items
    assert steps[-1].page.content.end is PageEnd.MAX_ITEMS
    assert steps[-1].page.content.next is None
    assert steps[-1].last


@pytest.mark.parametrize(
    ("budget", "reason", "items"),
    [
        (Budget(max_scanned_items=13), PageEnd.SCAN_BUDGET, 13),
        (Budget(max_scanned_items=20), PageEnd.SCAN_BUDGET, 20),
        (Budget(max_read_units=13 * UNITS_PER_ITEM), PageEnd.READ_UNIT_BUDGET, 13),
        (Budget(max_read_units=0.1), PageEnd.READ_UNIT_BUDGET, 1),
    ],
)
@warped
async def test_a_spent_budget_is_the_last_page(budget: Budget, reason: PageEnd, items: int) -> None:
    """Budgets are the whole call's; the stream ends with OK and a token."""
    reader = InMemoryReader(ITEMS)
    steps = await collect(open_pager(reader, budget=budget))
    assert delivered(steps) == ITEMS[:items]
    assert steps[-1].page.content.end is reason
    assert steps[-1].last
    follow = open_pager(reader, page_size=50, cursor=steps[-1].page.content.next or b"")
    assert items_of((await follow.next_page()).page) == ITEMS[items:]


@warped
async def test_a_spent_duration_is_the_last_page() -> None:
    """Reading stops when the duration is over, though the caller's deadline is far away."""
    steps = await collect(open_pager(ScriptedReader(seconds=1.0), budget=Budget(max_duration=1.5)))
    assert ends(steps) == [PageEnd.PAGE_FULL, PageEnd.TIME_BUDGET]
    assert steps[-1].last
    assert steps[-1].page.content.next is not None


@warped
async def test_near_the_deadline_progress_is_an_answer() -> None:
    """The items so far are sent in time, with a token."""
    steps = await collect(open_pager(ScriptedReader(seconds=1.0), page_size=2, seconds=3.2))
    assert ends(steps) == [PageEnd.PAGE_FULL, PageEnd.PAGE_FULL, PageEnd.TIME_BUDGET]
    assert [step.last for step in steps] == [False, False, True]


@warped
async def test_deadlines_leave_time_to_answer() -> None:
    """A tenth of the time, at most 0.25 s, is left; half of it for the hard deadline."""
    loop = asyncio.get_running_loop()
    for seconds, margin in ((1.0, 0.1), (60.0, 0.25)):
        reader = ScriptedReader()
        now = loop.time()
        await open_pager(reader, seconds=seconds).next_page()
        assert reader.requests[0].options.soft_deadline == pytest.approx(now + seconds - margin)
        assert reader.requests[0].options.hard_deadline == pytest.approx(now + seconds - margin / 2)
        assert not reader.requests[0].options.budget.is_limited


@warped
async def test_options_have_the_remaining_budget() -> None:
    """Each page gets the rest of the budget and its own share of a stream's interval."""
    reader = ScriptedReader(seconds=1.0)
    budget = Budget(max_scanned_items=100, max_read_units=50.0, max_duration=30.0)
    now = asyncio.get_running_loop().time()
    await collect(open_pager(reader, budget=budget, interval=5.0, max_items=12))
    first, second = (request.options for request in reader.requests)
    budgets = first.budget, second.budget
    assert [budget.max_scanned_items for budget in budgets] == [100, 90]
    assert [budget.max_read_units for budget in budgets] == [50.0, 50.0 - 10 * UNITS_PER_ITEM]
    assert (first.soft_deadline, second.soft_deadline) == (now + 5.0, now + 6.0)
    assert (first.page_size, second.page_size) == (10, 2)
    assert [budget.max_duration for budget in budgets] == [30.0, 30.0]
    assert all(budget.is_limited for budget in budgets)


@warped
async def test_one_page_is_read_ahead() -> None:
    """While a page is being written the next one is read, and not the one after it."""
    reader = ScriptedReader(seconds=1.0)
    async with aclosing(open_pager(reader, page_size=5).pages()) as pages:
        for number in range(1, 4):
            await anext(pages)
            await asyncio.sleep(10.0)
            assert len(reader.requests) == number + 1
            assert len(reader.inner.calls) == number + 1


@pytest.mark.parametrize("allowed", [0, 1, 2])
@warped
async def test_a_refusal_comes_after_every_page_that_was_read(allowed: int) -> None:
    """A refused call has its pages, the one that was read ahead included, and reads no other."""
    reader = ScriptedReader(seconds=1.0)
    steps: list[PageResult] = []
    asked = 0

    def refusal() -> Exception | None:
        nonlocal asked
        asked += 1
        return None if asked <= allowed else BackendUnavailable("no more")

    async def consume() -> None:
        async for step in open_pager(reader, page_size=5).pages(refusal):
            steps.append(step)
            await asyncio.sleep(10.0)

    with pytest.raises(BackendUnavailable, match="no more"):
        await consume()
    assert len(reader.requests) == len(steps) == allowed + 1
    assert delivered(steps) == ITEMS[: 5 * len(steps)]
    assert not any(step.last for step in steps)


@warped
async def test_the_last_page_is_not_refused() -> None:
    """A call whose every page was read ends well."""
    reader = ScriptedReader()
    pages = open_pager(reader, page_size=30).pages(lambda: BackendUnavailable("no more"))
    (step,) = [step async for step in pages]
    assert step.last


@warped
async def test_items_read_ahead_begin_the_next_page() -> None:
    """The pager passes them on once; a unary call has no next page to read ahead for."""
    reader = ScriptedReader()
    await collect(open_pager(reader, page_size=10))
    given = [request.read_ahead for request in reader.requests]
    assert [None if ahead is None else ahead.items for ahead in given] == [None, AHEAD, AHEAD]
    unary = ScriptedReader()
    await open_pager(unary).next_page()
    assert not unary.requests[0].options.reads_on


@warped
async def test_items_read_ahead_do_not_outlive_a_failure() -> None:
    """A page that failed may still be using them."""
    reader = ScriptedReader(fails_at=2)
    pager = open_pager(reader)
    pages = pager.pages()
    await anext(pages)
    with pytest.raises(BackendUnavailable):
        await anext(pages)
    await pager.next_page()
    given = [request.read_ahead for request in reader.requests]
    assert [ahead is not None for ahead in given] == [False, True, False]


@warped
async def test_reading_ahead_saves_the_wait() -> None:
    """A caller as slow as a page waits for the first one only."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async for _ in open_pager(ScriptedReader(seconds=1.0), page_size=5).pages():
        await asyncio.sleep(1.0)
    assert loop.time() - began == pytest.approx(6.0)


@warped
async def test_a_closed_pager_stops_reading() -> None:
    """Closing the generator ends the read ahead; no task is left behind (see `warped`)."""
    reader = ScriptedReader(seconds=1.0)
    pages = open_pager(reader).pages()
    await anext(pages)
    await asyncio.sleep(0.5)
    await pages.aclose()
    assert reader.cancelled == 1


@warped
async def test_a_cancelled_call_stops_reading() -> None:
    """It stops while it waits for the page ahead, and while it is busy with the last one."""
    for pause in (0.0, 0.5):
        reader = ScriptedReader(seconds=1.0)

        async def consume(reader: PageReader = reader, pause: float = pause) -> None:
            async with aclosing(open_pager(reader).pages()) as pages:
                async for _ in pages:
                    await asyncio.sleep(pause)

        task = asyncio.create_task(consume())
        await asyncio.sleep(1.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert reader.cancelled == 1


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@warped
async def test_an_error_comes_after_the_pages_before_it(fails_at: int) -> None:
    """Complete pages are delivered; the error is kept with its task."""
    steps: list[PageResult] = []

    async def consume() -> None:
        async for step in open_pager(ScriptedReader(fails_at=fails_at)).pages():
            steps.append(step)
            await asyncio.sleep(1.0)

    with pytest.raises(BackendUnavailable, match="broken"):
        await consume()
    assert len(steps) == fails_at - 1
    assert not any(step.last for step in steps)


@warped
async def test_a_deadline_after_pages_is_the_end_of_a_stream_not_an_error() -> None:
    """A stream that ends without further items is OK, with a token."""
    reader = ScriptedReader(fails_at=2, error=DeadlineExceeded("nothing to show"))
    first, last = await collect(open_pager(reader))
    assert (last.last, last.page.content.end) == (True, PageEnd.TIME_BUDGET)
    assert (last.page.content.items, last.page.usage) == (b"", NO_USAGE)
    assert last.page.content.next == first.page.content.next
    assert (last.items, last.usage) == (first.items, first.usage)


@warped
async def test_an_error_without_a_caller_is_not_reported() -> None:
    """The caller has left, so the error of the page ahead is not reported."""
    pages = open_pager(ScriptedReader(fails_at=2)).pages()
    await anext(pages)
    await asyncio.sleep(1.0)
    await pages.aclose()


@warped
async def test_an_empty_range_is_one_last_page() -> None:
    """A stream always has a message."""
    steps = await collect(open_pager(InMemoryReader([])))
    assert ends(steps) == [PageEnd.EXHAUSTED]
    assert steps[0].last
    assert steps[0].items == 0
