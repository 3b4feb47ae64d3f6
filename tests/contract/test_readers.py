"""Promises that every Reader keeps.

The same tests run on DynamoDB Local, on the cache above it, and on the fake of the unit tests.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

import pytest

from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.planning.plan import Operation
from dynamodb_processor_server.reader import START, PageEnd
from tests.contract.readings import QUERIES, expected, make_items, meets, projected
from tests.contract.reads import (
    check_cursors_resume,
    check_page_bytes,
    counted,
    joined,
    make_read,
    plan_for,
    read_all,
)
from tests.contract.stores import Store
from tests.support.fake_reader import items_of
from tests.support.oracle import canonical, canonical_item

pytestmark = pytest.mark.asyncio(loop_scope="session")

ITEMS: Final = make_items()
SIZES: Final = (1, 7, 100)


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("text", QUERIES)
async def test_pages_put_together_are_the_answer(store: Store, text: str, descending: bool) -> None:
    """Items come in order of the sort key, each once, the same in pages of any size."""
    plan = plan_for(store, text, descending=descending, projection=projected(text))
    answers = [joined(await read_all(store.reader(), plan, size)) for size in SIZES]
    assert answers[0] == answers[1] == answers[2]
    keep = projected(text)
    wanted = Counter(
        frozenset((name, value) for name, value in item if not keep or name in keep)
        for item in expected(text).elements()
    )
    assert counted(answers[0]) == wanted
    (sort,) = [attribute.name for attribute in plan.path.key.sort][-1:]
    order = [canonical(item[sort])[1] for item in answers[0]]
    assert order == sorted(order, reverse=descending)


@pytest.mark.parametrize("text", QUERIES)
async def test_pages_are_exact(store: Store, text: str) -> None:
    """Each page but the last is full, and only the last has no cursor."""
    plan = plan_for(store, text, projection=projected(text))
    pages = await read_all(store.reader(), plan, 4)
    assert all(page.content.end is PageEnd.PAGE_FULL for page in pages[:-1])
    assert all(page.content.count == 4 for page in pages[:-1])
    assert pages[-1].content.end is PageEnd.EXHAUSTED
    assert pages[-1].content.count <= 4


@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("text", [QUERIES[2], QUERIES[5], QUERIES[8]])
async def test_every_cursor_resumes(store: Store, text: str, descending: bool) -> None:
    """With another page size and another reader, no item is lost or repeated."""
    plan = plan_for(store, text, descending=descending)
    await check_cursors_resume(store, plan, 3)


async def test_scans_return_everything(store: Store) -> None:
    """A scan returns each item once, in an order that does not depend on the page size."""
    plan = plan_for(store, None)
    assert plan.operation is Operation.SCAN
    answers = [joined(await read_all(store.reader(), plan, size)) for size in SIZES]
    assert answers[0] == answers[1] == answers[2]
    assert counted(answers[0]) == expected(None)


async def test_an_empty_answer_is_one_page(store: Store) -> None:
    """An empty answer is one final page."""
    page = await store.reader().read_page(make_read(plan_for(store, "device = 'nobody'")))
    assert (page.content.items, page.content.count) == (b"", 0)
    assert page.content.end is PageEnd.EXHAUSTED
    assert page.content.next is None


async def test_a_contradiction_is_not_read(store: Store) -> None:
    """A contradictory condition costs nothing."""
    plan = plan_for(store, "device = 'd1' AND at > 5 AND at < 5")
    assert plan.operation is Operation.NOTHING
    page = await store.reader().read_page(make_read(plan))
    assert page.content.end is PageEnd.EXHAUSTED
    assert page.content.next is None
    assert page.usage.backend_calls == 0
    assert page.usage.items_scanned == 0


@pytest.mark.parametrize("text", [QUERIES[0], QUERIES[3], QUERIES[7], None])
@pytest.mark.parametrize("most", [1, 5])
async def test_the_scan_budget_bounds_each_page(store: Store, text: str | None, most: int) -> None:
    """Each page makes progress, however few items match, and together they are the answer."""
    plan = plan_for(store, text)
    pages = await read_all(store.reader(), plan, 10, max_scanned_items=most)
    ends = {page.content.end for page in pages[:-1]}
    assert ends <= {PageEnd.SCAN_BUDGET, PageEnd.PAGE_FULL}
    assert PageEnd.SCAN_BUDGET in ends
    assert all(page.usage.items_scanned <= most for page in pages)
    cursors = [page.content.next for page in pages]
    assert len(set(cursors)) == len(cursors)
    assert counted(joined(pages)) == expected(text)


async def test_the_read_unit_budget_bounds_each_page(store: Store) -> None:
    """The smallest budget still makes progress."""
    plan = plan_for(store, QUERIES[3])
    pages = await read_all(store.reader(), plan, 3, max_read_units=0.01)
    assert {page.content.end for page in pages[:-1]} <= {
        PageEnd.READ_UNIT_BUDGET, PageEnd.PAGE_FULL,
    }  # fmt: skip
    assert all(page.usage.read_units > 0 for page in pages)
    assert counted(joined(pages)) == expected(QUERIES[3])


async def test_a_late_page_ends_with_its_progress(store: Store) -> None:
    """Past its soft deadline a page ends as soon as it has made progress."""
    plan = plan_for(store, QUERIES[3])
    pages = await read_all(store.reader(), plan, 5, soft_deadline=0.0, max_duration=60.0)
    assert PageEnd.TIME_BUDGET in {page.content.end for page in pages}
    assert len({page.content.next for page in pages}) == len(pages)
    assert counted(joined(pages)) == expected(QUERIES[3])


async def test_a_deadline_that_has_passed_is_an_error(store: Store) -> None:
    """A read past its hard deadline is DEADLINE_EXCEEDED."""
    loop = asyncio.get_running_loop()
    with pytest.raises(DeadlineExceeded):
        await store.reader().read_page(
            make_read(plan_for(store, QUERIES[0]), hard_deadline=loop.time() - 1.0)
        )


@pytest.mark.parametrize("text", [QUERIES[0], QUERIES[3], QUERIES[8]])
@pytest.mark.parametrize("most", [1, 500])
async def test_the_bytes_of_a_page_are_bounded(store: Store, text: str, most: int) -> None:
    """A first item of any size has room; an item without room begins the next page."""
    plan = plan_for(store, text)
    pages = await check_page_bytes(store, plan, most)
    assert joined(pages) == joined(await read_all(store.reader(), plan, 100))


async def test_only_requested_attributes_are_returned(store: Store) -> None:
    """Key attributes for the cursor and attributes for the filter are left out."""
    plan = plan_for(store, QUERIES[8], projection=("doc.n", "doc.list[1]", "tags"))
    pages = await read_all(store.reader(), plan, 4)
    assert counted(joined(pages)) == Counter(
        canonical_item(
            {
                "doc": {"M": {"n": item["doc"]["M"]["n"], "list": {"L": [{"N": "2"}]}}},
                "tags": item["tags"],
            }
        )
        for item in ITEMS
        if meets(QUERIES[8], item)
    )


async def test_consistent_reads_are_answered(store: Store) -> None:
    """A consistent read returns the same items at twice the cost."""
    strong = await store.reader().read_page(make_read(plan_for(store, QUERIES[0], consistent=True)))
    assert counted(items_of(strong)) == expected(QUERIES[0])


async def test_cursors_outlive_their_item(store: Store) -> None:
    """Paging continues after the item that a cursor points at was deleted."""
    plan = plan_for(store, QUERIES[0])
    reader = store.reader()
    first = await reader.read_page(make_read(plan, START, 5))
    deleted = canonical_item(items_of(first)[-1])
    last = next(item for item in ITEMS if canonical_item(item) == deleted)
    store.remove(last)
    try:
        rest = await read_all(reader, plan, 5, first.content.next or b"")
    finally:
        store.put(last)
    assert counted(items_of(first) + joined(rest)) == expected(QUERIES[0])


async def test_pages_report_their_cost(store: Store) -> None:
    """A page has its evaluated items, read units and requests, and the start of its read."""
    before = time.time()
    page = await store.reader().read_page(make_read(plan_for(store, QUERIES[3])))
    assert page.usage.items_scanned == 45
    assert page.usage.read_units > 0
    assert page.usage.backend_calls >= 1
    assert page.usage.retries == 0
    assert page.usage.backend_time >= 0
    assert before <= page.content.read_at <= time.time()
