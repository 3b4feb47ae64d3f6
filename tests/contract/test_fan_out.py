"""Promises of every Reader about several partitions behind one cursor, and about gets."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, Final

import pytest

from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.reader import START, PageEnd
from tests.contract.readings import FAN_OUTS, make_items, projected
from tests.contract.reads import (
    check_cursors_resume,
    check_one_call,
    check_page_bytes,
    counted,
    joined,
    make_read,
    plan_for,
    read_all,
)
from tests.contract.stores import Store
from tests.support.fake_reader import items_of
from tests.support.oracle import canonical_item, sort_value

pytestmark = pytest.mark.asyncio(loop_scope="session")

SIZES: Final = (1, 3, 7, 100)
TEXTS: Final = pytest.mark.parametrize("text", FAN_OUTS)
DIRECTIONS: Final = pytest.mark.parametrize(
    "descending", [False, True], ids=["ascending", "descending"]
)


def plan_of(store: Store, text: str, *, descending: bool = False) -> Plan:
    """Return the plan of a query of several partitions."""
    plan = plan_for(store, text, descending=descending, projection=projected(text))
    assert plan.operation is Operation.QUERY
    assert len(plan.requests) > 1
    return plan


def answer_to(text: str) -> Counter[Any]:
    """Return the items that answer a query, found by checking every item."""
    keep = projected(text)
    return Counter(
        canonical_item({name: item[name] for name in keep or item if name in item})
        for item in make_items()
        if FAN_OUTS[text](item)
    )


async def merged(store: Store, plan: Plan) -> list[dict[str, Any]]:
    """Return the items of all partitions, each read alone, by sort key and then by partition."""
    items: list[dict[str, Any]] = []
    for branch, request in zip(plan.key.branches, plan.requests, strict=True):
        alone = replace(plan, key=replace(plan.key, branches=(branch,)), requests=(request,))
        # Read alone it is another plan: the cache must not confuse the two.
        alone = replace(alone, cache_key=repr(branch).encode())
        items += joined(await read_all(store.reader(), alone, 100))
    names = [attribute.name for attribute in plan.path.key.sort]
    items.sort(key=lambda i: [sort_value(i[name]) for name in names], reverse=plan.descending)
    return items


@DIRECTIONS
@TEXTS
async def test_pages_put_together_are_the_sorted_items(
    store: Store, text: str, descending: bool
) -> None:
    """Each item comes once, by sort key; ties by partition, then in DynamoDB's own order."""
    plan = plan_of(store, text, descending=descending)
    truth = await merged(store, plan)
    assert counted(truth) == answer_to(text)
    for size in SIZES:
        pages = await read_all(store.reader(), plan, size)
        assert joined(pages) == truth
        assert {page.content.end for page in pages[:-1]} <= {PageEnd.PAGE_FULL}
        assert all(page.content.count == size for page in pages[:-1])
        assert pages[-1].content.end is PageEnd.EXHAUSTED


@DIRECTIONS
@pytest.mark.parametrize("text", [*FAN_OUTS][::2])
async def test_every_cursor_resumes(store: Store, text: str, descending: bool) -> None:
    """Every cursor works with a fresh reader and another page size, for any partition progress."""
    plan = plan_of(store, text, descending=descending)
    pages = await check_cursors_resume(store, plan, 3)
    assert len(pages) > 3


@TEXTS
async def test_one_call_gets_the_same_pages_and_reads_each_item_once(
    store: Store, text: str
) -> None:
    """Items left over from a page begin the next page."""
    plan = plan_of(store, text)
    pages = await check_one_call(store, plan)
    assert all(page.content.count == 3 for page in pages[:-1])


async def test_left_over_items_serve_no_other_cursor(store: Store) -> None:
    """A call that continues from another cursor gets the items that follow that cursor."""
    plan = plan_of(store, next(iter(FAN_OUTS)))
    reader = store.reader()
    first = await reader.read_page(make_read(plan, START, 4, reads_on=True))
    again = await reader.read_page(
        make_read(plan, START, 5, reads_on=True, read_ahead=first.read_ahead)
    )
    assert items_of(again)[:4] == items_of(first)
    rest = await read_all(reader, plan, 6, again.content.next or b"", reads_on=True)
    assert items_of(again) + joined(rest) == await merged(store, plan)


@TEXTS
@pytest.mark.parametrize("most", [5, 8])
async def test_the_scan_budget_bounds_each_page(store: Store, text: str, most: int) -> None:
    """A budget of at least one item per partition bounds a page; all pages are the answer."""
    plan = plan_of(store, text)
    pages = await read_all(store.reader(), plan, 10, max_scanned_items=most)
    assert {page.content.end for page in pages[:-1]} <= {PageEnd.SCAN_BUDGET, PageEnd.PAGE_FULL}
    assert all(page.usage.items_scanned <= most for page in pages)
    cursors = [page.content.next for page in pages]
    assert len(set(cursors)) == len(cursors)
    assert joined(pages) == await merged(store, plan)


@DIRECTIONS
@pytest.mark.parametrize(
    "limits",
    [
        {"max_scanned_items": 1},
        {"max_read_units": 0.01},
        {"soft_deadline": 0.0, "max_duration": 60.0},
    ],
    ids=lambda limits: next(iter(limits)),
)
async def test_the_smallest_budget_makes_progress(
    store: Store, limits: dict[str, Any], descending: bool
) -> None:
    """Every page makes progress in some partition, and no item is lost or repeated."""
    for text in [*FAN_OUTS][::3]:
        plan = plan_of(store, text, descending=descending)
        pages = await read_all(store.reader(), plan, 10, **limits)
        assert len({page.content.next for page in pages}) == len(pages)
        assert joined(pages) == await merged(store, plan)


@TEXTS
async def test_the_bytes_of_a_page_are_bounded(store: Store, text: str) -> None:
    """An item that does not fit is withheld in its partition alone."""
    plan = plan_of(store, text)
    pages = await check_page_bytes(store, plan, 700)
    assert joined(pages) == await merged(store, plan)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("device = 'd1' AND at = -10", True),
        ("device = 'd1' AND at = -10 AND score = 0 AND contains(tags, 'even')", True),
        ("device = 'd1' AND at = -10 AND score = 1", False),
        ("device = 'd1' AND at = 99", False),
    ],
)
@pytest.mark.parametrize("consistent", [False, True])
async def test_a_full_key_gets_its_item(
    store: Store, text: str, found: bool, consistent: bool
) -> None:
    """The item is returned if it exists and matches the rest of the condition; nothing follows."""
    plan = plan_for(store, text, consistent=consistent)
    assert plan.operation is Operation.GET
    page = await store.reader().read_page(make_read(plan, START, 5))
    assert counted(items_of(page)) == counted(make_items()[:1] * found)
    assert (page.content.next, page.content.end) == (None, PageEnd.EXHAUSTED)
    assert page.usage.backend_calls == 1
    assert page.usage.items_scanned == (not text.endswith("99"))


async def test_a_get_returns_only_requested_attributes(store: Store) -> None:
    """Attributes that only the service needed are left out."""
    text = "device = 'd1' AND at = -10 AND doc.list[0] = 1"
    plan = plan_for(store, text, projection=("doc.n", "note"))
    page = await store.reader().read_page(make_read(plan))
    assert items_of(page) == [{"doc": {"M": {"n": {"N": "0"}}}, "note": {"S": ""}}]


@pytest.mark.parametrize(
    "text",
    [
        "device IN ('d1', 'd2') AND device = 'e1'",
        "device = 'd1' AND at = 1 AND at = 2",
        "level IN ('low', 'high') AND score = 1 AND score > 3",
    ],
)
async def test_impossible_partitions_are_not_read(store: Store, text: str) -> None:
    """The answer of impossible partitions is empty and costs nothing."""
    plan = plan_for(store, text)
    assert plan.operation is Operation.NOTHING
    page = await store.reader().read_page(make_read(plan))
    assert (page.content.items, page.content.next) == (b"", None)
    assert page.usage.backend_calls == 0


@pytest.mark.parametrize("page_size", [7, 100])
async def test_fifty_partitions_are_one_answer(store: Store, page_size: int) -> None:
    """Fifty partitions, most of them empty, are one answer."""
    names = ", ".join(f"'{letter}{number}'" for letter in "abcdefghij" for number in range(5))
    plan = plan_for(store, f"device IN ({names})")
    assert len(plan.requests) == 50
    pages = await read_all(store.reader(), plan, page_size)
    assert joined(pages) == await merged(store, plan)
    assert counted(joined(pages)) == counted(make_items())
