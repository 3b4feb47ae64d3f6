"""Promises of every Reader about items that an index holds in part and the table holds whole."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import pytest

from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.reader import START, PageEnd
from tests.contract.readings import HYDRATED, make_items
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
TEXTS: Final = pytest.mark.parametrize("text", HYDRATED)
DIRECTIONS: Final = pytest.mark.parametrize(
    "descending", [False, True], ids=["ascending", "descending"]
)


def plan_of(store: Store, text: str, **fields: Any) -> Plan:
    """Return the plan of a query that hydrates items from the table."""
    plan = plan_for(store, text, **fields)
    assert plan.path.index == "by_site"
    assert plan.hydration is not None
    return plan


def answer_to(text: str) -> Counter[Any]:
    """Return the items that answer a query, found by checking every item."""
    return Counter(canonical_item(item) for item in make_items() if HYDRATED[text](item))


@DIRECTIONS
@TEXTS
async def test_whole_items_come_in_the_order_of_the_index(
    store: Store, text: str, descending: bool
) -> None:
    """Each item comes once, in pages of any size; each page but the last is full."""
    plan = plan_of(store, text, descending=descending)
    truth = joined(await read_all(store.reader(), plan, 100))
    assert counted(truth) == answer_to(text)
    names = [attribute.name for attribute in plan.path.key.sort]
    order = [[sort_value(item[name]) for name in names] for item in truth]
    assert order == sorted(order, reverse=descending)
    for size in SIZES:
        pages = await read_all(store.reader(), plan, size)
        assert joined(pages) == truth
        assert {page.content.end for page in pages[:-1]} <= {PageEnd.PAGE_FULL}
        assert all(page.content.count == size for page in pages[:-1])
        assert pages[-1].content.end is PageEnd.EXHAUSTED


@DIRECTIONS
@TEXTS
async def test_every_cursor_resumes(store: Store, text: str, descending: bool) -> None:
    """Every cursor works with a fresh reader, in pages of another size."""
    plan = plan_of(store, text, descending=descending)
    await check_cursors_resume(store, plan, 1)


@TEXTS
async def test_one_call_gets_the_same_pages(store: Store, text: str) -> None:
    """Items left over from a page begin the next page, and are evaluated once."""
    plan = plan_of(store, text)
    await check_one_call(store, plan)


@DIRECTIONS
@pytest.mark.parametrize(
    "limits",
    [
        {"max_scanned_items": 4},
        {"max_scanned_items": 9},
        {"max_read_units": 0.01},
        {"max_read_units": 2.0},
        {"soft_deadline": 0.0, "max_duration": 60.0},
    ],
    ids=str,
)
async def test_budgets_end_pages_and_lose_nothing(
    store: Store, limits: dict[str, Any], descending: bool
) -> None:
    """Every page makes progress within any budget; evaluated items are those of the index."""
    for text in HYDRATED:
        plan = plan_of(store, text, descending=descending)
        pages = await read_all(store.reader(), plan, 10, **limits)
        assert len({page.content.next for page in pages}) == len(pages)
        assert joined(pages) == joined(await read_all(store.reader(), plan, 100))
        most = limits.get("max_scanned_items", 100)
        assert all(page.usage.items_scanned <= most for page in pages)


@TEXTS
@pytest.mark.parametrize("most", [1, 900])
async def test_the_bytes_of_a_page_are_bounded(store: Store, text: str, most: int) -> None:
    """A first item of any size has room; an item without room begins the next page."""
    plan = plan_of(store, text)
    pages = await check_page_bytes(store, plan, most)
    assert joined(pages) == joined(await read_all(store.reader(), plan, 100))


async def test_only_requested_attributes_are_returned(store: Store) -> None:
    """Keys for the hydration and attributes for the service's own checks are left out."""
    text = next(text for text in HYDRATED if "raw" in text)
    plan = plan_of(store, text, projection=("doc.n", "doc.list[1]", "tags"))
    pages = await read_all(store.reader(), plan, 4)
    assert counted(joined(pages)) == Counter(
        canonical_item(
            {
                "doc": {"M": {"n": item["doc"]["M"]["n"], "list": {"L": [{"N": "2"}]}}},
                "tags": item["tags"],
            }
        )
        for item in make_items()
        if HYDRATED[text](item)
    )


async def test_a_scan_of_an_index_shows_the_items_of_the_index(store: Store) -> None:
    """A scan of an index, by request, lacks the items without its keys."""
    plan = plan_for(store, "raw > :raw", index="by_site")
    assert plan.operation is Operation.SCAN
    assert plan.hydration is not None
    wanted = Counter(
        canonical_item(item)
        for item in make_items()
        if "level" in item and item.get("raw", {}).get("B", b"") > b"\x10"
    )
    for size in SIZES:
        assert counted(joined(await read_all(store.reader(), plan, size))) == wanted


async def test_a_single_large_item_makes_progress(store: Store) -> None:
    """An item of 390 KB, over the bound of a page, is a page of its own."""
    device = {"device": {"S": "large"}, "at": {"N": "1"}}
    site = {"site": {"S": "barn"}, "floor": {"N": "0"}, "level": {"S": "low"}}
    small = {**device, "at": {"N": "0"}, **site, "score": {"N": "1"}, "tags": {"SS": ["x"]}}
    large = {**device, **site, "score": {"N": "2"}, "load": {"S": "x" * 390_000}}
    last = {**small, "at": {"N": "2"}, "score": {"N": "3"}}
    for item in (small, large, last):
        store.put(item)
    try:
        plan = plan_of(store, "site = 'barn' AND floor = 0 AND level = 'low'")
        pages = await read_all(store.reader(max_page_bytes=100_000), plan, 10)
    finally:
        for item in (small, large, last):
            store.remove(item)
    assert [items_of(page) for page in pages] == [[small], [large], [last]]


async def test_an_answer_without_items_gets_nothing(store: Store) -> None:
    """An empty answer is final, and no item is read from the table."""
    page = await store.reader().read_page(make_read(plan_of(store, "site = 'moon' AND floor = 1")))
    assert (page.content.items, page.content.next) == (b"", None)
    assert page.usage.backend_calls == 1


@pytest.mark.parametrize("store", ["cached"], indirect=True)
async def test_cached_items_are_read_only_if_the_index_shows_a_change(store: Store) -> None:
    """Pages of another size are other pages, and have the same items without reading them."""
    items: list[dict[str, Any]] = [
        {
            "device": {"S": "kept"},
            "at": {"N": str(number)},
            "tags": {"SS": ["a", "b"]},
            "site": {"S": "attic"},
            "floor": {"N": "0"},
            "level": {"S": "low"},
            "score": {"N": str(number)},
            "raw": {"B": b"\x00"},
            "note": {"S": "n"},
        }
        for number in range(3)
    ]
    plan, reader = plan_of(store, "site = 'attic' AND floor = 0"), store.reader()
    for item in items:
        store.put(item)
    try:
        first = await reader.read_page(make_read(plan, START, 10))
        second = await reader.read_page(make_read(plan, START, 9))
        store.put({**items[0], "score": {"N": "7"}})
        third = await reader.read_page(make_read(plan, START, 8))
    finally:
        for item in items:
            store.remove(item)
    assert (
        counted(items_of(first)) == counted(items_of(second)) == Counter(map(canonical_item, items))
    )
    assert [page.usage.backend_calls for page in (first, second, third)] == [2, 1, 2]
    assert second.usage.read_units < first.usage.read_units
    assert [item["score"]["N"] for item in items_of(third)] == ["1", "2", "7"]
