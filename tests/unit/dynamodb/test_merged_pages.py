"""Pages of several partitions are exact and bounded, make progress and read no item twice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import product
from typing import Any, Final

import pytest

from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.reader import (
    START,
    Cursor,
    Page,
    PageEnd,
    PageRead,
    ReadAhead,
    Usage,
)
from tests.support.fake_reader import items_of
from tests.support.reads import CALLER, far_options
from tests.unit.dynamodb.answers import AnsweringTable
from tests.unit.dynamodb.small_table import make_plan

DEVICES: Final = ("a", "b", "c")
PLAN: Final = make_plan("device IN ('a', 'b', 'c')")
BACKWARDS: Final = make_plan("device IN ('a', 'b', 'c')", descending=True)
FILTERED: Final = make_plan("device IN ('a', 'b', 'c') AND level = 'low'", index="@table")
# The sort key is the path's own, so the service checks the condition.
LOCAL: Final = make_plan("device IN ('a', 'b', 'c') AND NOT seq IN (3, 4, 5)")
ITEMS: Final[list[WireItem]] = [
    {
        "device": {"S": device},
        "seq": {"N": str(number)},
        "level": {"S": "low" if number % 3 else "high"},
    }
    for number, device in product(range(30), DEVICES)
    if (number + len(DEVICES) * ord(device)) % 7 != 0  # Partitions with gaps, and many ties.
]


def is_low(item: WireItem) -> bool:
    """Return the value of the filter of FILTERED."""
    return bool(item["level"]["S"] == "low")


def build(
    table: AnsweringTable,
    at: Cursor = START,
    plan: Plan = PLAN,
    max_bytes: int = 1_000_000,
    now: float = 1_000.0,
    read_ahead: ReadAhead | None = None,
    **options: Any,
) -> Page:
    """Return the page that begins at a cursor, in a call that reads on."""
    request = PageRead(plan, at, far_options(reads_on=True, **options), CALLER, None, read_ahead)
    builder = PageBuilder(request, max_bytes, now)
    return builder.finish(table.fill(builder))


def traverse(
    table: AnsweringTable, plan: Plan = PLAN, *, one_call: bool = False, **options: Any
) -> list[Page]:
    """Return all pages, a prefetch buffer, as those of one call or each of a call of its own."""
    pages: list[Page] = []
    at: Cursor | None = START
    read_ahead: ReadAhead | None = None
    while at is not None:
        pages.append(build(table, at, plan, read_ahead=read_ahead, **options))
        assert pages[-1].content.next != at, "no progress"
        at = pages[-1].content.next
        read_ahead = pages[-1].read_ahead if one_call else None
    return pages


def joined(pages: list[Page]) -> list[WireItem]:
    """Return the items of all pages."""
    return [item for page in pages for item in items_of(page)]


def scanned(pages: list[Page]) -> int:
    """Return how many items were evaluated."""
    return sum(page.usage.items_scanned for page in pages)


def expected(plan: Plan) -> list[WireItem]:
    """Return the items that answer a plan, found by sorting all items."""
    wanted: dict[int, Callable[[WireItem], bool]] = {
        id(FILTERED): is_low,
        id(LOCAL): lambda item: item["seq"]["N"] not in ("3", "4", "5"),
    }
    found = filter(wanted.get(id(plan), lambda item: True), ITEMS)
    by_device = sorted(found, key=lambda item: str(item["device"]["S"]))
    return sorted(by_device, key=lambda item: int(item["seq"]["N"]), reverse=plan.descending)


def table_for(plan: Plan) -> AnsweringTable:
    """Return the items behind the plan's filter."""
    return AnsweringTable(ITEMS, is_low) if plan is FILTERED else AnsweringTable(ITEMS)


PLANS: Final = pytest.mark.parametrize(
    "plan", [PLAN, BACKWARDS, FILTERED, LOCAL], ids=["plain", "backwards", "filtered", "local"]
)


@PLANS
@pytest.mark.parametrize("page_size", [1, 2, 3, 7, 100])
def test_pages_put_together_are_the_merge(plan: Plan, page_size: int) -> None:
    """Each page alone and all in one call are the same; every page but the last is full."""
    for one_call in (False, True):
        pages = traverse(table_for(plan), plan, one_call=one_call, page_size=page_size)
        assert joined(pages) == expected(plan)
        assert {page.content.end for page in pages[:-1]} <= {PageEnd.PAGE_FULL}
        assert all(page.content.count == page_size for page in pages[:-1])
        assert pages[-1].content.end is PageEnd.EXHAUSTED


@PLANS
@pytest.mark.parametrize("page_size", [1, 3, 7])
def test_one_call_reads_nothing_twice(plan: Plan, page_size: int) -> None:
    """Items read beyond a page begin the next page: each item is evaluated once in all."""
    pages = traverse(table_for(plan), plan, one_call=True, page_size=page_size)
    assert scanned(pages) == len(ITEMS)


def test_an_item_withheld_leaves_its_partition_where_it_was() -> None:
    """The other partitions continue after their last delivered item; ties go to the earlier one."""
    page = build(AnsweringTable(ITEMS), page_size=4)
    taken = [(item["device"]["S"], int(item["seq"]["N"])) for item in items_of(page)]
    assert taken == [("a", 0), ("c", 0), ("a", 1), ("b", 1)]
    assert json.loads(page.content.next or b"") == [
        {"device": {"S": "a"}, "seq": {"N": "1"}},
        {"device": {"S": "b"}, "seq": {"N": "1"}},
        {"device": {"S": "c"}, "seq": {"N": "0"}},
    ]


def test_cursors_tell_unread_partitions_from_ended_ones() -> None:
    """A cursor has null for unread and true for ended ones, which are not read again."""
    items = [
        {"device": {"S": device}, "seq": {"N": str(number)}}
        for device, numbers in {"a": [1], "b": [2, 3], "c": [9]}.items()
        for number in numbers
    ]
    table = AnsweringTable(items)
    page = build(table, page_size=2)
    assert json.loads(page.content.next or b"") == [
        True,
        {"device": {"S": "b"}, "seq": {"N": "2"}},
        None,
    ]
    table.requests.clear()
    rest = build(table, page.content.next or b"")
    assert items_of(rest) == items[2:]
    assert rest.content.next is None
    assert {device for device, _ in table.requests} == {"b", "c"}


def test_bytes_are_bounded_over_all_partitions() -> None:
    """An item that does not fit begins the next page, of any partition."""
    size = len(build(AnsweringTable(ITEMS), page_size=5).content.items)
    pages = traverse(AnsweringTable(ITEMS), page_size=100, max_bytes=size)
    assert joined(pages) == expected(PLAN)
    assert {page.content.end for page in pages[:-1]} == {PageEnd.RESPONSE_BYTES}
    assert all(len(page.content.items) <= size for page in pages)
    single = traverse(AnsweringTable(ITEMS), page_size=100, max_bytes=1)
    assert [page.content.count for page in single[:-1]] == [1] * (len(ITEMS) - 1)


@PLANS
@pytest.mark.parametrize("most", [3, 4, 5, 8, 29])
def test_the_scan_budget_is_kept_to_the_item(plan: Plan, most: int) -> None:
    """A budget of at least one item per partition is exact; every page makes progress."""
    pages = traverse(table_for(plan), plan, page_size=100, max_scanned_items=most)
    assert joined(pages) == expected(plan)
    assert all(page.usage.items_scanned <= most for page in pages)
    assert PageEnd.SCAN_BUDGET in {page.content.end for page in pages}


@PLANS
@pytest.mark.parametrize("most", [1, 2])
def test_a_smaller_scan_budget_is_one_item_of_each_partition(plan: Plan, most: int) -> None:
    """Fewer items would not determine the order, and paging would make no progress."""
    pages = traverse(table_for(plan), plan, max_scanned_items=most)
    assert joined(pages) == expected(plan)
    assert all(page.usage.items_scanned <= len(DEVICES) for page in pages)


@PLANS
def test_the_smallest_read_unit_budget_makes_progress(plan: Plan) -> None:
    """Each partition is read once, and the items whose order is then known are delivered."""
    pages = traverse(table_for(plan), plan, max_read_units=0.001)
    assert joined(pages) == expected(plan)
    assert all(page.usage.backend_calls <= len(DEVICES) for page in pages)


def test_partitions_share_the_missing_items() -> None:
    """Each partition is read for its share and one item more, so that the merge seldom waits."""
    table = AnsweringTable(ITEMS)
    build(table, page_size=10)
    first = table.requests[: len(DEVICES)]
    assert [device for device, _ in first] == [*DEVICES]
    assert {request["Limit"] for _, request in first} == {math.ceil(10 / 3) + 1}


def numbered(device: str, numbers: range) -> list[WireItem]:
    """Return items of a device."""
    return [{"device": {"S": device}, "seq": {"N": str(number)}} for number in numbers]


def limits_of(table: AnsweringTable, device: str) -> list[int]:
    """Return how many items of a device each request asked for."""
    return [request["Limit"] for asked, request in table.requests if asked == device]


def test_a_partition_that_is_read_again_is_read_further() -> None:
    """It has more of the first items than its share, so as many again as it gave are requested."""
    table = AnsweringTable(numbered("a", range(500)) + numbered("b", range(500, 1_000)))
    page = build(table, page_size=100)
    assert items_of(page) == numbered("a", range(100))
    assert limits_of(table, "a") == [35, 35, 70]
    assert limits_of(table, "b") == [35]


def test_prefetched_items_are_bounded() -> None:
    """Small pages of one call take few requests, and at most 200 items of each partition."""
    table = AnsweringTable([item for d in DEVICES for item in numbered(d, range(1_000))])
    pages = traverse(table, one_call=True, page_size=7)
    assert len(pages) == math.ceil(3_000 / 7)
    assert scanned(pages) == 3_000
    for device in DEVICES:
        limits = limits_of(table, device)
        assert limits == sorted(limits)
        assert limits[-1] == 200
        assert len(limits) <= 13


def test_a_full_key_is_one_get_without_a_limit() -> None:
    """The answer, present or missing, is complete."""
    plan = make_plan("device = 'a' AND seq = 1")
    assert plan.operation is Operation.GET
    builder = PageBuilder(PageRead(plan, START, far_options(), CALLER), 1_000_000, 1_000.0)
    ((branch, request),) = builder.next_requests()
    assert request == plan.requests[0]
    branch.add({"Items": []}, 1_000.0)
    assert builder.fill() is PageEnd.EXHAUSTED
    page = builder.finish(PageEnd.EXHAUSTED)
    assert (page.content.count, page.content.next) == (0, None)


def test_a_full_key_is_filtered_by_the_service() -> None:
    """GetItem has no filter, so the service evaluates the condition."""
    item: WireItem = {"device": {"S": "a"}, "seq": {"N": "1"}, "level": {"S": "low"}}
    for level, count in (("low", 1), ("high", 0)):
        plan = make_plan(f"device = 'a' AND seq = 1 AND level = '{level}'")
        builder = PageBuilder(PageRead(plan, START, far_options(), CALLER), 1_000_000, 1_000.0)
        ((branch, _),) = builder.next_requests()
        builder.add(branch, {"Items": [item]}, Usage(1, 0.5, 1))
        assert builder.fill() is PageEnd.EXHAUSTED
        assert builder.partial_page(PageEnd.EXHAUSTED).content.count == count


def test_left_over_items_are_as_old_as_their_read() -> None:
    """The read time of a page is that of the oldest item that it may hold."""
    table = AnsweringTable(ITEMS)
    first = build(table, page_size=2, now=1_000.0)
    following, ahead = first.content.next or b"", first.read_ahead
    second = build(table, following, read_ahead=ahead, page_size=2, now=1_007.0)
    assert first.content.read_at == second.content.read_at == 1_000.0
    later = build(table, second.content.next or b"", page_size=2, now=1_009.0)
    assert later.content.read_at == 1_009.0


def test_a_page_of_left_over_items_costs_nothing() -> None:
    """A page of left-over items sends no request."""
    table = AnsweringTable(ITEMS)
    first = build(table, page_size=2)
    asked = len(table.requests)
    second = build(table, first.content.next or b"", read_ahead=first.read_ahead, page_size=1)
    assert len(table.requests) == asked
    assert second.usage == Usage()
    assert joined([first, second]) == expected(PLAN)[:3]


def test_left_over_items_serve_their_own_cursor_alone() -> None:
    """At another cursor the builder reads, and drops its buffer."""
    table = AnsweringTable(ITEMS)
    first = build(table, page_size=4)
    assert first.read_ahead is not None
    again = build(table, START, read_ahead=first.read_ahead, page_size=4)
    assert items_of(again) == items_of(first)
    assert again.usage.backend_calls > 0
    assert first.read_ahead.items is None
    assert again.read_ahead is not None
    assert again.read_ahead.cursor == first.content.next
    build(table, first.content.next or b"", page_size=4)
    elsewhere = build(table, again.content.next or b"", page_size=4)
    assert items_of(elsewhere) == expected(PLAN)[4:8]


def test_left_over_items_are_used_once() -> None:
    """Two pages from one cursor read twice."""
    table = AnsweringTable(ITEMS)
    first = build(table, page_size=1)
    request = PageRead(
        PLAN, first.content.next or b"", far_options(1), CALLER, None, first.read_ahead
    )
    one = PageBuilder(request, 1_000_000, 1_000.0)
    other = PageBuilder(request, 1_000_000, 1_000.0)
    assert one.next_requests() == []
    assert len(other.next_requests()) == len(DEVICES)
    table.fill(one)
    table.fill(other)
    assert items_of(one.partial_page(PageEnd.PAGE_FULL)) == items_of(
        other.partial_page(PageEnd.PAGE_FULL)
    )


def test_a_page_that_was_not_finished_leaves_nothing() -> None:
    """Other callers may still wait for such a page."""
    table = AnsweringTable(ITEMS)
    request = PageRead(PLAN, START, far_options(2, reads_on=True), CALLER)
    builder = PageBuilder(request, 1_000_000, 1_000.0)
    assert builder.partial_page(table.fill(builder)).read_ahead is None


def test_the_share_of_matches_is_that_of_the_call() -> None:
    """A page that begins with left-over items does not count them as matches of its own reads."""
    items: list[WireItem] = [
        {"device": {"S": "a"}, "seq": {"N": str(number)}, "hit": {"BOOL": number % 4 > 0}}
        for number in range(1_000)
    ]
    table = AnsweringTable(items, lambda item: bool(item["hit"]["BOOL"]))
    plan = make_plan("device = 'a' AND hit = true")
    pages = traverse(table, plan, one_call=True, page_size=100)
    assert sum(page.content.count for page in pages) == 750
    assert scanned(pages) == len(items)
    assert sum(page.usage.backend_calls for page in pages) <= 2 * len(pages)
