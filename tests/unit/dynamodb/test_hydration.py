"""Hydration gets items from the table: none lost, none stale, no more than needed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import (
    NO_PAGE_LIMIT,
    START,
    Cursor,
    PageEnd,
    PageRead,
)
from tests.support.fake_reader import items_of
from tests.support.reads import CALLER, make_options, make_read
from tests.support.warped_time import warped
from tests.unit.dynamodb.hydrated_pages import (
    BACKWARDS,
    OPEN,
    SIZES,
    jobs,
    joined,
    lagging,
    traverse,
)
from tests.unit.dynamodb.lagging_index import LaggingIndex, job, plan_for


@SIZES
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
async def test_items_that_changed_behind_the_index_are_dropped(size: int, descending: bool) -> None:
    """Changed, deleted and no longer matching items are dropped.

    The others are returned as the table has them, in order. Every boundary resumes.
    """
    index, left = lagging()
    plan = plan_for("state = 'open' AND kind = 'odd'", descending=descending)
    right = left[::-1] if descending else left
    pages = await traverse(index, plan, size)
    assert joined(pages) == right
    assert all(page.content.count == size for page in pages[:-1])
    assert pages[-1].content.end is PageEnd.EXHAUSTED
    for number, page in enumerate(pages[:-1], 1):
        rest = await traverse(index, plan, 5, page.content.next or b"")
        assert joined(pages[:number]) + joined(rest) == right


async def test_cursors_have_the_keys_of_the_index_entries() -> None:
    """That holds if the item has another key by now, and if it is gone."""
    index, _ = lagging()
    plan = plan_for("state = 'open' AND kind = 'odd'")
    page = await index.page(plan, START, make_options(4))
    assert [item["job"]["S"] for item in items_of(page)] == ["j001", "j002", "j009", "j010"]
    assert b'"due":{"N":"5"},"job":{"S":"j010"},"state":{"S":"open"}' in (page.content.next or b"")
    middle = LaggingIndex(jobs(4), [job("j001", 9), *jobs(4)[2:]])
    page = await middle.page(OPEN, START, make_options(1))
    assert b'"due":{"N":"1"},"job":{"S":"j002"}' in (page.content.next or b"")


async def test_a_partition_without_items_is_exhausted() -> None:
    """The number of its index entries does not matter."""
    index = LaggingIndex(jobs(30), [])
    page = await index.page(OPEN, START, make_options(7))
    assert (page.content.count, page.content.end) == (0, PageEnd.EXHAUSTED)
    assert page.usage.items_scanned == 30


@SIZES
async def test_no_more_items_are_got_than_fit_on_the_page(size: int) -> None:
    """Here each index entry is a result."""
    index = LaggingIndex(jobs(100))
    page = await index.page(OPEN, START, make_options(size))
    assert items_of(page) == jobs(100)[:size]
    assert [len(names) for names in index.gets] == [size]


async def test_excess_matches_of_a_filter_are_not_got() -> None:
    """A query asks for more entries than the page holds, as some may not match; here all match."""
    index = LaggingIndex(jobs(100))
    page = await index.page(plan_for("state = 'open' AND kind = 'odd'"), START, make_options(7))
    assert page.usage.items_scanned == 14
    assert [len(names) for names in index.gets] == [7]


async def test_entries_that_the_index_rules_out_are_not_got() -> None:
    """The service evaluates conditions on the attributes that the index holds first."""
    index = LaggingIndex(jobs(20))
    plan = plan_for("state = 'open' AND NOT due IN (2, 3) AND NOT kind BETWEEN 'z' AND 'a'")
    page = await index.page(plan, START, make_options(20))
    right = [item for item in jobs(20) if item["due"]["N"] not in ("2", "3")]
    assert items_of(page) == right
    assert index.gets == [[item["job"]["S"] for item in right]]


async def test_a_rare_match_is_found_in_few_gets() -> None:
    """The share of matches so far determines how many items are got."""
    items = [{**item, "rare": {"BOOL": n % 50 == 49}} for n, item in enumerate(jobs(1_000))]
    index = LaggingIndex(items)
    page = await index.page(plan_for("state = 'open' AND rare = true"), START, make_options(5))
    assert items_of(page) == items[49:250:50]
    assert len(index.gets) <= 12
    assert sum(map(len, index.gets)) <= 600


@warped
async def test_large_pages_are_got_several_requests_at_a_time() -> None:
    """One request of 100 keys shows the size of items; then four run at a time."""
    index = LaggingIndex(jobs(1_000), seconds=1.0)
    began = asyncio.get_running_loop().time()
    page = await index.page(OPEN, START, make_options(1_000))
    assert items_of(page) == jobs(1_000)
    assert {len(names) for names in index.gets} == {100}
    assert len(index.gets) == 10
    assert asyncio.get_running_loop().time() - began == pytest.approx(4.0)
    assert page.usage.backend_calls == 11
    assert page.usage.read_units == 500.5
    assert page.usage.items_scanned == 1_000


async def test_large_items_are_got_few_at_a_time() -> None:
    """After the first request has shown their size, at most 16 MB are got at a time."""
    items = jobs(300, note={"S": "x" * 200_000}, rare={"BOOL": False})
    index = LaggingIndex(items)
    await index.page(plan_for("state = 'open' AND rare = true"), START, make_options(100))
    assert len(index.gets[0]) == 100
    assert max(map(len, index.gets[1:])) <= 80


async def test_items_that_do_not_fit_on_the_page_are_not_got() -> None:
    """A second request asks for as many as fit, judged by the size of those before."""
    index = LaggingIndex(jobs(1_000, note={"S": "x" * 1_000}))
    reader = index.reader(max_page_bytes=120_000)
    page = await reader.read_page(make_read(OPEN, START, 1_000))
    assert page.content.end is PageEnd.RESPONSE_BYTES
    assert 100 < page.content.count < 120
    assert sum(map(len, index.gets)) <= page.content.count + 3


async def test_an_item_with_two_index_entries_is_got_once() -> None:
    """The index may show its old and its new key; it is returned at the new one."""
    current = job("j000", 3, state="new")
    index = LaggingIndex([job("j000", 2), job("j001", 3), current], [job("j001", 3), current])
    plan = plan_for("state IN ('open', 'new')")
    for size in (1, 10):
        index.gets.clear()
        pages = await traverse(index, plan, size)
        assert joined(pages) == [job("j001", 3), current]
    assert [sorted(names) for names in index.gets] == [["j000", "j001"], ["j000"]]


@SIZES
@pytest.mark.parametrize("descending", [False, True], ids=["ascending", "descending"])
async def test_partitions_are_merged_as_the_index_shows_them(size: int, descending: bool) -> None:
    """They are in sort order, ties by partition; a stream gets each item once."""
    shown = [job(f"j{n:03}", n // 4, state=("open", "new", "old")[n % 3]) for n in range(90)]
    index = LaggingIndex(shown, [item for n, item in enumerate(shown) if n % 7])
    plan = plan_for("state IN ('new', 'open', 'old')", descending=descending)
    ranks = {"new": 0, "open": 1, "old": 2}

    def rank(item: WireItem) -> tuple[int, int, int]:
        sign = -1 if descending else 1
        order = sign * int(item["job"]["S"][1:])
        return sign * int(item["due"]["N"]), ranks[item["state"]["S"]], order

    right = sorted((item for n, item in enumerate(shown) if n % 7), key=rank)
    assert joined(await traverse(index, plan, size)) == right
    index.gets.clear()
    reader, pages = index.reader(), []
    at: Cursor | None = START
    read_ahead = None
    while at is not None:
        request = make_read(plan, at, size, reads_on=True, read_ahead=read_ahead)
        pages.append(await reader.read_page(request))
        at, read_ahead = pages[-1].content.next, pages[-1].read_ahead
    assert joined(pages) == right
    assert sum(map(len, index.gets)) == len(shown)


async def test_items_that_may_sort_later_are_not_got() -> None:
    """One partition fills the page, and has to be queried again for it."""
    index = LaggingIndex([*jobs(50), *(job(f"n{n}", 100 + n, state="new") for n in range(50))])
    page = await index.page(plan_for("state IN ('open', 'new')"), START, make_options(20))
    assert items_of(page) == jobs(20)
    assert len(index.queries) > 2
    assert sum(map(len, index.gets)) == 20


@warped
async def test_items_got_ahead_of_order_are_kept() -> None:
    """They serve the rest of the call: each item is got once, whichever keys stay unprocessed."""
    index = LaggingIndex(jobs(30), at_once=4, seconds=1.0, from_end=True)
    reader, pages = index.reader(), []
    at: Cursor | None = START
    read_ahead = None
    while at is not None:
        until = asyncio.get_running_loop().time() + 2.5
        options = make_options(15, soft_deadline=until, reads_on=True)
        pages.append(
            await reader.read_page(PageRead(OPEN, at, options, CALLER, read_ahead=read_ahead))
        )
        at, read_ahead = pages[-1].content.next, pages[-1].read_ahead
    assert joined(pages) == jobs(30)
    assert PageEnd.TIME_BUDGET in {page.content.end for page in pages}
    assert sum(page.usage.read_units for page in pages) == len(index.queries) * 0.5 + 30 * 0.5


@SIZES
async def test_counting_checks_attributes_that_the_index_lacks(size: int) -> None:
    """It examines item by item, up to the bound; items that have changed do not count."""
    shown = jobs(60)
    items = [{**item, "rare": {"BOOL": n % 3 == 0}} for n, item in enumerate(shown) if n != 30]
    index = LaggingIndex(shown, items)
    plan = plan_for("state = 'open' AND rare = true", counts=True)
    pages = await traverse(index, plan, size)
    assert sum(page.content.count for page in pages) == 19
    assert all(page.content.count == size for page in pages[:-1])
    assert not any(page.content.items for page in pages)
    whole = await index.page(plan, START, make_options(NO_PAGE_LIMIT))
    assert (whole.content.count, whole.content.end) == (19, PageEnd.EXHAUSTED)


@SIZES
async def test_items_hidden_by_a_row_rule_leave_no_trace(size: int) -> None:
    """Items hidden in the index or only in the table do not change pages or their ends."""
    rule = RowRule(parse_expression("kind = 'odd'", {}), as_filter=True)
    plan = plan_for("state = 'open'", rule=rule)
    seen = jobs(14)
    hidden = [job(f"k{number:03}", number, kind="even") for number in range(20)]
    stale = [{**item, "kind": {"S": "odd"}} for item in hidden]
    alone = await traverse(LaggingIndex(seen), plan, size)
    for shown in (hidden, stale):
        index = LaggingIndex([*seen, *shown], [*seen, *hidden], lambda i: i["kind"]["S"] == "odd")
        pages = await traverse(index, plan, size)
        assert [items_of(page) for page in pages] == [items_of(page) for page in alone]
        assert [page.content.end for page in pages] == [page.content.end for page in alone]


async def test_a_backend_that_fails_the_gets_fails_the_page() -> None:
    """The error is the same as for a failed query."""

    class Failing(LaggingIndex):
        async def batch_get_item(self, **request: Any) -> dict[str, Any]:
            raise TimeoutError

    with pytest.raises(BackendUnavailable):
        await Failing(jobs(3)).page(BACKWARDS, START, make_options(3))
