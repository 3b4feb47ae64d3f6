"""Promises of every Reader about counting plans: the number of a query's items, and no items."""

from __future__ import annotations

import pytest

from dynamodb_processor_server.query.planning.plan import Operation
from dynamodb_processor_server.reader import NO_PAGE_LIMIT, START, PageEnd
from tests.contract.readings import FAN_OUTS, QUERIES, expected, make_items
from tests.contract.reads import make_read, plan_for, read_all
from tests.contract.stores import Store

pytestmark = pytest.mark.asyncio(loop_scope="session")


def right_count(text: str) -> int:
    """Return how many items answer a query."""
    if text in FAN_OUTS:
        return sum(map(FAN_OUTS[text], make_items()))
    return expected(text).total()


@pytest.mark.parametrize("text", [*QUERIES, *FAN_OUTS])
async def test_a_count_is_the_number_of_the_items(store: Store, text: str) -> None:
    """A count is exact at once and in pages of any size; its pages hold no bytes."""
    plan = plan_for(store, text, counts=True)
    for size in (1, 7, NO_PAGE_LIMIT):
        pages = await read_all(store.reader(), plan, size)
        assert sum(page.content.count for page in pages) == right_count(text)
        assert all(page.content.items == b"" for page in pages)
        assert pages[-1].content.end is PageEnd.EXHAUSTED
        assert {page.content.end for page in pages[:-1]} <= {PageEnd.PAGE_FULL}


@pytest.mark.parametrize("budget", [1, 3, 20])
@pytest.mark.parametrize("text", [QUERIES[1], QUERIES[7], *FAN_OUTS])
async def test_a_budgeted_count_evaluates_no_more(store: Store, text: str, budget: int) -> None:
    """A page keeps to its budget for any number of partitions, and every page makes progress."""
    plan = plan_for(store, text, counts=True)
    pages = await read_all(store.reader(), plan, NO_PAGE_LIMIT, max_scanned_items=budget)
    assert sum(page.content.count for page in pages) == right_count(text)
    assert all(page.usage.items_scanned <= budget for page in pages)
    assert {page.content.end for page in pages[:-1]} <= {PageEnd.SCAN_BUDGET}
    cursors = [page.content.next for page in pages]
    assert len(set(cursors)) == len(cursors)


async def test_counting_everything_is_a_scan(store: Store) -> None:
    """Everything is counted by a scan where the catalog allows scans."""
    plan = plan_for(store, None, counts=True)
    assert plan.operation is Operation.SCAN
    page = await store.reader().read_page(make_read(plan, START, NO_PAGE_LIMIT))
    assert (page.content.count, page.content.next) == (100, None)


async def test_an_impossible_condition_is_counted_without_a_read(store: Store) -> None:
    """A condition that no item can meet counts zero without a request."""
    plan = plan_for(store, "device = 'd1' AND at > 3 AND at < 2", counts=True)
    page = await store.reader().read_page(make_read(plan, START, NO_PAGE_LIMIT))
    assert (page.content.count, page.content.next, page.usage.backend_calls) == (0, None, 0)
