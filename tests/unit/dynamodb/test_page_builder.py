"""A page built from DynamoDB's answers is exact and bounded, and always makes progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from dynamodb_processor_server.cursor import decode_cursor
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import START, Page, PageEnd, PageRead, Usage
from tests.support.fake_reader import items_of
from tests.support.reads import CALLER, far_options
from tests.unit.dynamodb.small_table import LOCAL, make_items, make_plan

ITEMS = make_items(30)
PLAIN = make_plan()
PLAIN_QUERY = Query("readings", parse_expression("device = 'd'", {}))


def make_builder(
    plan: Plan = PLAIN, page_size: int = 10, max_bytes: int = 1_000_000, **fields: Any
) -> PageBuilder:
    """Return a page builder that begins at the start."""
    return PageBuilder(
        PageRead(plan, START, far_options(page_size, **fields), CALLER), max_bytes, 1_000.0
    )


def feed(
    builder: PageBuilder, items: Sequence[WireItem], *, more: bool, scanned: int | None = None
) -> PageEnd | None:
    """Give a builder an answer for its one partition; the last evaluated key is the last item's."""
    answer: dict[str, Any] = {"Items": items}
    if more:
        last = items[-1] if items else ITEMS[0]
        answer["LastEvaluatedKey"] = {name: last[name] for name in ("device", "seq")}
    count = len(items) if scanned is None else scanned
    ((branch, _),) = builder.next_requests()
    builder.add(branch, answer, Usage(count, count / 2, 1, 0, 0.01))
    return builder.fill()


def request_of(builder: PageBuilder) -> dict[str, Any]:
    """Return the request that a builder needs next for its one partition."""
    ((_, request),) = builder.next_requests()
    return request


def behind(page: Page) -> int | None:
    """Return the number of the item after which a page ends; None at the end of the range."""
    if page.content.next is None:
        return None
    (key,) = decode_cursor(page.content.next, 1)
    assert isinstance(key, Mapping)
    return int(key["seq"]["N"])


def test_a_full_answer_makes_a_full_page() -> None:
    """DynamoDB stops at Limit, and the next page begins after its last evaluated key."""
    builder = make_builder()
    assert request_of(builder)["Limit"] == 10
    assert feed(builder, ITEMS[:10], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == ITEMS[:10]
    assert behind(page) == 9
    assert page.usage == Usage(10, 5.0, 1, 0, 0.01)
    assert page.content.read_at == 1_000.0


def test_the_end_of_the_range_is_the_missing_key() -> None:
    """Neither a short answer nor a full one tells whether items follow."""
    builder = make_builder()
    assert feed(builder, ITEMS[:4], more=True) is None
    assert request_of(builder)["ExclusiveStartKey"] == {"device": {"S": "d"}, "seq": {"N": "3"}}
    assert request_of(builder)["Limit"] == 6
    assert feed(builder, [], more=True, scanned=3) is None
    assert feed(builder, ITEMS[4:10], more=False) is PageEnd.EXHAUSTED
    page = builder.partial_page(PageEnd.EXHAUSTED)
    assert items_of(page) == ITEMS[:10]
    assert behind(page) is None
    assert page.usage == Usage(13, 6.5, 3, 0, 0.03)


def test_an_empty_key_is_a_missing_key() -> None:
    """Some imitations of DynamoDB answer with an empty key."""
    builder = make_builder()
    ((branch, _),) = builder.next_requests()
    builder.add(branch, {"Items": [], "LastEvaluatedKey": {}}, Usage())
    assert builder.fill() is PageEnd.EXHAUSTED
    assert builder.next_requests() == []


def test_an_item_too_many_is_withheld() -> None:
    """The page then ends after the last item that was delivered or rejected."""
    builder = make_builder(page_size=3)
    assert feed(builder, ITEMS[:7], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == ITEMS[:3]
    assert behind(page) == 2


def test_items_rejected_behind_a_full_page_are_passed() -> None:
    """The cursor moves past evaluated items that do not match, so that they are not read again."""
    lows = [item for item in ITEMS if item["level"]["S"] == "low"]
    builder = make_builder(LOCAL, page_size=1)
    assert feed(builder, [lows[2], lows[0], lows[1], lows[3]], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == [lows[2]]
    assert behind(page) == int(lows[1]["seq"]["N"])
    (key,) = decode_cursor(page.content.next or b"", 1)
    assert isinstance(key, Mapping)
    assert set(key) == {"level", "seq", "device"}, "an index's cursor has both keys"


def test_an_item_withheld_before_any_item_of_its_answer() -> None:
    """The cursor stays at the start of the answer."""
    builder = make_builder(page_size=10, max_bytes=1)
    assert feed(builder, ITEMS[:1], more=True) is None
    assert feed(builder, ITEMS[1:4], more=True) is PageEnd.RESPONSE_BYTES
    page = builder.partial_page(PageEnd.RESPONSE_BYTES)
    assert items_of(page) == ITEMS[:1]
    assert behind(page) == 0


def test_bytes_are_bounded() -> None:
    """A page never has more bytes, and the item that did not fit begins the next page."""
    whole = make_builder()
    feed(whole, ITEMS[:5], more=False)
    size = len(whole.partial_page(PageEnd.EXHAUSTED).content.items)
    exact = make_builder(max_bytes=size)
    assert feed(exact, ITEMS[:5], more=False) is PageEnd.EXHAUSTED
    tight = make_builder(max_bytes=size - 1)
    assert feed(tight, ITEMS[:5], more=False) is PageEnd.RESPONSE_BYTES
    page = tight.partial_page(PageEnd.RESPONSE_BYTES)
    assert items_of(page) == ITEMS[:4]
    assert len(page.content.items) < size
    assert behind(page) == 3


def test_a_single_large_item_makes_progress() -> None:
    """A page takes a first item of any size: 400 KB of DynamoDB fit any message."""
    large = {**ITEMS[0], "note": {"S": "x" * 400_000}}
    builder = make_builder(max_bytes=1_000)
    assert feed(builder, [large, ITEMS[1]], more=False) is PageEnd.RESPONSE_BYTES
    page = builder.partial_page(PageEnd.RESPONSE_BYTES)
    assert items_of(page) == [large]
    assert behind(page) == 0


def test_the_scan_budget_ends_a_page_with_its_progress() -> None:
    """The limit is the remaining budget, and the page ends where DynamoDB stopped."""
    builder = make_builder(make_plan("device = 'd' AND value > 100"), max_scanned_items=8)
    assert request_of(builder)["Limit"] == 8
    assert feed(builder, [], more=True, scanned=5) is None
    assert request_of(builder)["Limit"] == 3
    assert feed(builder, ITEMS[11:13], more=True, scanned=3) is PageEnd.SCAN_BUDGET
    page = builder.partial_page(PageEnd.SCAN_BUDGET)
    assert page.content.count == 2
    assert behind(page) == 12


def test_the_read_unit_budget_ends_a_page_with_its_progress() -> None:
    """The page ends when the budget is reached or exceeded: a cost is known after the answer."""
    builder = make_builder(max_read_units=2.0)
    assert feed(builder, ITEMS[:3], more=True) is None
    assert feed(builder, ITEMS[3:5], more=True) is PageEnd.READ_UNIT_BUDGET
    assert behind(builder.partial_page(PageEnd.READ_UNIT_BUDGET)) == 4


@pytest.mark.parametrize("fields", [{"max_scanned_items": 10}, {"max_read_units": 1.0}])
def test_a_full_page_is_full_whatever_it_cost(fields: dict[str, Any]) -> None:
    """The end reason is the budget only if the page is not full."""
    builder = make_builder(**fields)
    assert feed(builder, ITEMS[:10], more=True) is PageEnd.PAGE_FULL


@pytest.mark.parametrize(
    ("answers", "limit"),
    [
        ([], 20),
        ([(0, 20)], 220),
        ([(5, 20)], 19),
        ([(9, 10)], 2),
        ([(1, 2_000)], 9_009),
        ([(0, 5_000)], 10_000),
    ],
)
def test_the_limit_follows_the_ratio_of_matches(answers: list[tuple[int, int]], limit: int) -> None:
    """Rare matches take few requests, common ones waste few reads; the limit is at most 10,000."""
    builder = make_builder(make_plan("device = 'd' AND value > 0"))
    for matches, scanned in answers:
        feed(builder, ITEMS[:matches], more=True, scanned=scanned)
    assert request_of(builder)["Limit"] == limit


def test_only_projected_attributes_are_encoded() -> None:
    """Attributes that only the cursor needed are dropped, and paths are cut out."""
    builder = make_builder(make_plan(projection=("value",)))
    feed(builder, ITEMS[:2], more=True)
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == [{"value": {"N": "0"}}, {"value": {"N": "10"}}]
    assert behind(page) == 1


def test_paths_are_cut_out_of_attributes_read_for_checks() -> None:
    """The elements of a list that DynamoDB already cut are kept as they come."""
    plan = make_plan(
        "device = 'd' AND NOT doc.kind BETWEEN 9 AND 1", projection=("doc.name", "list[2]")
    )
    doc = {"M": {"kind": {"N": "7"}, "name": {"S": "x"}}}
    answered = [{**ITEMS[0], "doc": doc, "list": {"L": [{"S": "third"}]}}]
    builder = make_builder(plan)
    feed(builder, answered, more=False)
    assert items_of(builder.partial_page(PageEnd.EXHAUSTED)) == [
        {"doc": {"M": {"name": {"S": "x"}}}, "list": {"L": [{"S": "third"}]}}
    ]


# Plans with hidden items.


def hiding_plan() -> Plan:
    """Return a plan that passes over the items which its caller may not read."""
    rule = RowRule(parse_expression("level = 'low'", {}), as_filter=True)
    plan = plan_query(PLAIN_QUERY, PLAIN.table, rule)
    assert plan.hides_cost
    return plan


def test_a_page_is_not_full_before_the_next_item_is_known() -> None:
    """More evaluated items tell a caller that does not know of hidden ones no more."""
    builder = make_builder(hiding_plan(), page_size=2)
    low = [item for item in ITEMS if item["level"] == {"S": "low"}]
    assert feed(builder, low[:2], more=True, scanned=3) is None
    assert request_of(builder)["Limit"] >= 1
    assert feed(builder, [], more=True, scanned=5) is None
    assert feed(builder, low[2:3], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert page.content.count == 2
    assert behind(page) is not None


def test_a_page_without_visible_successors_is_the_last() -> None:
    """The page is the last, however many hidden items follow."""
    builder = make_builder(hiding_plan(), page_size=2)
    low = [item for item in ITEMS if item["level"] == {"S": "low"}]
    assert feed(builder, low[:2], more=True, scanned=3) is None
    assert feed(builder, [], more=False, scanned=500) is PageEnd.EXHAUSTED
    assert builder.partial_page(PageEnd.EXHAUSTED).content.next is None


def test_hidden_items_are_dropped_though_the_filter_passed_them() -> None:
    """Each item is checked, though the filter should have hidden it."""
    builder = make_builder(hiding_plan(), page_size=10)
    assert feed(builder, ITEMS[:6], more=False) is PageEnd.EXHAUSTED
    assert builder.partial_page(PageEnd.EXHAUSTED).content.count == 4
