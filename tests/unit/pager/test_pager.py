"""The pages of one call: its budget and its end."""

from __future__ import annotations

import asyncio

import pytest

from dynamodb_processor_server.reader import (
    NO_USAGE,
    Budget,
    PageEnd,
)
from tests.support.fake_reader import UNITS_PER_ITEM, InMemoryReader, items_of
from tests.support.warped_time import warped
from tests.unit.dynamodb.small_table import make_items
from tests.unit.pager.scripted_pages import (
    ITEMS,
    ScriptedReader,
    collect,
    delivered,
    ends,
    open_pager,
)


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
async def test_an_empty_range_is_one_last_page() -> None:
    """A stream always has a message."""
    steps = await collect(open_pager(InMemoryReader([])))
    assert ends(steps) == [PageEnd.EXHAUSTED]
    assert steps[0].last
    assert steps[0].items == 0
