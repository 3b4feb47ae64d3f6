"""Hydration against the clock, and within budgets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.reader import START, PageEnd
from tests.support.fake_reader import items_of
from tests.support.warped_time import warped
from tests.unit.dynamodb.hydrated_pages import (
    OPEN,
    jobs,
    joined,
    traverse,
)
from tests.unit.dynamodb.lagging_index import LaggingIndex, plan_for
from tests.unit.dynamodb.questions import make_limits


@warped
async def test_what_dynamodb_leaves_unprocessed_is_got_later() -> None:
    """Nothing is lost, and the order stays."""
    index = LaggingIndex(jobs(50), at_once=3)
    page = await index.page(OPEN, START, make_limits(20))
    assert items_of(page) == jobs(20)
    assert [len(names) for names in index.gets] == [20, 17, 14, 11, 8, 5, 2]
    assert page.usage.backend_calls == 8
    assert page.usage.read_units == 0.5 + 20 * 0.5


@warped
async def test_what_cannot_be_got_in_time_ends_the_page_before_it() -> None:
    """And begins the next one."""
    index = LaggingIndex(jobs(10), at_once=3, seconds=2.0)
    pages = [await index.page(OPEN, START, make_limits(10, seconds=5.0))]
    assert pages[0].content.end is PageEnd.TIME_BUDGET
    assert items_of(pages[0]) == jobs(10)[:6]
    index.at_once = 100
    pages += await traverse(index, OPEN, 10, pages[0].content.next or b"")
    assert joined(pages) == jobs(10)


@warped
async def test_an_answer_that_is_due_is_given_with_what_was_got() -> None:
    """Later requests are not begun; the deadline is further off."""
    index = LaggingIndex(jobs(300), seconds=2.0)
    until = asyncio.get_running_loop().time() + 1.0
    page = await index.page(OPEN, START, make_limits(300, soft_deadline=until))
    assert (page.content.count, page.content.end) == (100, PageEnd.TIME_BUDGET)
    assert len(index.gets) == 1


@warped
async def test_an_answer_that_is_overdue_brings_one_item() -> None:
    """Some progress is made, however long DynamoDB leaves it unprocessed."""
    index = LaggingIndex(jobs(10), at_once=0, seconds=0.1)
    loop = asyncio.get_running_loop()
    loop.call_later(7.0, lambda: setattr(index, "at_once", 1))
    page = await index.page(OPEN, START, make_limits(10, soft_deadline=loop.time()))
    assert items_of(page) == jobs(1)
    assert page.content.end is PageEnd.TIME_BUDGET
    assert len(index.gets) < 30, "asked for again and again without a pause"


@warped
async def test_nothing_got_in_time_is_an_error() -> None:
    """What the index showed is nothing to show."""
    for index in (LaggingIndex(jobs(10), seconds=9.0), LaggingIndex(jobs(10), at_once=0)):
        with pytest.raises(DeadlineExceeded):
            await index.page(OPEN, START, make_limits(10, seconds=5.0))


@warped
async def test_what_one_of_several_requests_got_in_time_counts() -> None:
    """The others are as good as not asked."""

    class Slowing(LaggingIndex):
        async def batch_get_item(self, **request: Any) -> dict[str, Any]:
            self.seconds = 60.0 if len(self.gets) > 1 else 1.0
            return await super().batch_get_item(**request)

    page = await Slowing(jobs(400)).page(OPEN, START, make_limits(400, seconds=10.0))
    assert items_of(page) == jobs(200)
    assert page.content.end is PageEnd.TIME_BUDGET


async def test_read_units_bound_what_is_got() -> None:
    """Each get takes half of one at least; what the index took counts as well."""
    index = LaggingIndex(jobs(50))
    page = await index.page(OPEN, START, make_limits(20, max_read_units=3.0))
    assert page.content.end is PageEnd.READ_UNIT_BUDGET
    assert (page.content.count, page.usage.read_units) == (5, 3.0)
    least = await index.page(OPEN, START, make_limits(20, max_read_units=0.1))
    assert (least.content.count, least.usage.read_units) == (1, 1.0)
    assert least.content.end is PageEnd.READ_UNIT_BUDGET


@warped
async def test_read_units_end_the_asking_for_what_was_left_unprocessed() -> None:
    """Items of 8 KB take a unit each; what the index took is no longer there to be spent."""
    index = LaggingIndex(jobs(50, note={"S": "x" * 8_000}), at_once=1)
    page = await index.page(OPEN, START, make_limits(20, max_read_units=3.2))
    assert (page.content.count, page.usage.read_units) == (3, 3.5)
    assert page.content.end is PageEnd.READ_UNIT_BUDGET


async def test_the_scan_budget_is_of_the_index() -> None:
    """What was evaluated is delivered."""
    page = await LaggingIndex(jobs(50)).page(OPEN, START, make_limits(20, max_scanned_items=6))
    assert items_of(page) == jobs(6)
    assert (page.usage.items_scanned, page.content.end) == (6, PageEnd.SCAN_BUDGET)


@warped
async def test_the_last_items_of_a_page_are_got_with_few_requests() -> None:
    """Where 99 of 100 were soon found and nothing more matches, as many are got as in vain."""
    held = [*jobs(99, note={"S": "wanted"}), *jobs(2_000)[99:]]
    index = LaggingIndex(held)
    page = await index.page(plan_for("state = 'open' AND note = 'wanted'"), START, make_limits(100))
    assert (page.content.count, page.content.end) == (99, PageEnd.EXHAUSTED)
    assert len(index.gets) <= 2_000 / 100 + 20
