"""Hydration within deadlines and budgets."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.reader import START, PageEnd
from tests.support.fake_reader import items_of
from tests.support.reads import make_options
from tests.support.warped_time import warped
from tests.unit.dynamodb.hydrated_pages import (
    OPEN,
    jobs,
    joined,
    traverse,
)
from tests.unit.dynamodb.lagging_index import LaggingIndex, plan_for


@warped
async def test_unprocessed_items_are_got_later() -> None:
    """No item is lost, and the order stays."""
    index = LaggingIndex(jobs(50), at_once=3)
    page = await index.page(OPEN, START, make_options(20))
    assert items_of(page) == jobs(20)
    assert [len(names) for names in index.gets] == [20, 17, 14, 11, 8, 5, 2]
    assert page.usage.backend_calls == 8
    assert page.usage.read_units == 0.5 + 20 * 0.5


@warped
async def test_an_item_that_is_late_ends_the_page_before_it() -> None:
    """The missing item begins the next page."""
    index = LaggingIndex(jobs(10), at_once=3, seconds=2.0)
    pages = [await index.page(OPEN, START, make_options(10, seconds=5.0))]
    assert pages[0].content.end is PageEnd.TIME_BUDGET
    assert items_of(pages[0]) == jobs(10)[:6]
    index.at_once = 100
    pages += await traverse(index, OPEN, 10, pages[0].content.next or b"")
    assert joined(pages) == jobs(10)


@warped
async def test_a_page_that_is_due_has_the_items_got_so_far() -> None:
    """Past the soft deadline no further request begins; the hard deadline is later."""
    index = LaggingIndex(jobs(300), seconds=2.0)
    until = asyncio.get_running_loop().time() + 1.0
    page = await index.page(OPEN, START, make_options(300, soft_deadline=until))
    assert (page.content.count, page.content.end) == (100, PageEnd.TIME_BUDGET)
    assert len(index.gets) == 1


@warped
async def test_an_answer_that_is_overdue_brings_one_item() -> None:
    """A page makes some progress, however long DynamoDB leaves its items unprocessed."""
    index = LaggingIndex(jobs(10), at_once=0, seconds=0.1)
    loop = asyncio.get_running_loop()
    loop.call_later(7.0, lambda: setattr(index, "at_once", 1))
    page = await index.page(OPEN, START, make_options(10, soft_deadline=loop.time()))
    assert items_of(page) == jobs(1)
    assert page.content.end is PageEnd.TIME_BUDGET
    assert len(index.gets) < 30, "asked for again and again without a pause"


@warped
async def test_no_item_in_time_is_an_error() -> None:
    """Items of the index alone are no page."""
    for index in (LaggingIndex(jobs(10), seconds=9.0), LaggingIndex(jobs(10), at_once=0)):
        with pytest.raises(DeadlineExceeded):
            await index.page(OPEN, START, make_options(10, seconds=5.0))


@warped
async def test_items_of_one_request_in_time_count() -> None:
    """The keys of the other requests count as not requested."""

    class Slowing(LaggingIndex):
        async def batch_get_item(self, **request: Any) -> dict[str, Any]:
            self.seconds = 60.0 if len(self.gets) > 1 else 1.0
            return await super().batch_get_item(**request)

    page = await Slowing(jobs(400)).page(OPEN, START, make_options(400, seconds=10.0))
    assert items_of(page) == jobs(200)
    assert page.content.end is PageEnd.TIME_BUDGET


async def test_read_units_bound_the_hydrated_items() -> None:
    """Each get takes half a unit at least; the cost of the index query counts as well."""
    index = LaggingIndex(jobs(50))
    page = await index.page(OPEN, START, make_options(20, max_read_units=3.0))
    assert page.content.end is PageEnd.READ_UNIT_BUDGET
    assert (page.content.count, page.usage.read_units) == (5, 3.0)
    least = await index.page(OPEN, START, make_options(20, max_read_units=0.1))
    assert (least.content.count, least.usage.read_units) == (1, 1.0)
    assert least.content.end is PageEnd.READ_UNIT_BUDGET


@warped
async def test_read_units_end_the_requests_for_unprocessed_keys() -> None:
    """Items of 8 KB take a unit each; the cost of the index query is already spent."""
    index = LaggingIndex(jobs(50, note={"S": "x" * 8_000}), at_once=1)
    page = await index.page(OPEN, START, make_options(20, max_read_units=3.2))
    assert (page.content.count, page.usage.read_units) == (3, 3.5)
    assert page.content.end is PageEnd.READ_UNIT_BUDGET


async def test_the_scan_budget_is_of_the_index() -> None:
    """Evaluated items are delivered."""
    page = await LaggingIndex(jobs(50)).page(OPEN, START, make_options(20, max_scanned_items=6))
    assert items_of(page) == jobs(6)
    assert (page.usage.items_scanned, page.content.end) == (6, PageEnd.SCAN_BUDGET)


@warped
async def test_the_last_items_of_a_page_are_got_with_few_requests() -> None:
    """If 99 of 100 were soon found and no more match, each get is as large as the gets in vain."""
    held = [*jobs(99, note={"S": "wanted"}), *jobs(2_000)[99:]]
    index = LaggingIndex(held)
    page = await index.page(
        plan_for("state = 'open' AND note = 'wanted'"), START, make_options(100)
    )
    assert (page.content.count, page.content.end) == (99, PageEnd.EXHAUSTED)
    assert len(index.gets) <= 2_000 / 100 + 20
