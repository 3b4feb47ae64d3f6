"""A page built from DynamoDB's answers: exact, bounded, and always moving on."""

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
from dynamodb_processor_server.reader import START, Page, PageEnd, ReadOptions, Usage
from tests.support.fake_reader import items_of
from tests.unit.dynamodb.questions import make_items, make_plan

FAR = 1e9
ITEMS = make_items(30)
PLAIN = make_plan()
PLAIN_QUERY = Query("readings", parse_expression("device = 'd'", {}))
# Not even two of these conditions can be DynamoDB's: the level is the index's own key.
LOCAL = make_plan("level = 'low' AND seq <> 1 AND seq <> 2", index="by_level")


def make_builder(
    plan: Plan = PLAIN, page_size: int = 10, max_bytes: int = 1_000_000, **fields: Any
) -> PageBuilder:
    """Return a page in the making that begins at the start."""
    return PageBuilder(plan, START, ReadOptions(page_size, FAR, FAR, **fields), max_bytes, 1_000.0)


def feed(
    builder: PageBuilder, items: Sequence[WireItem], *, more: bool, scanned: int | None = None
) -> PageEnd | None:
    """Give an answer about its one partition to a builder; it ends behind its last item."""
    answer: dict[str, Any] = {"Items": items}
    if more:
        last = items[-1] if items else ITEMS[0]
        answer["LastEvaluatedKey"] = {name: last[name] for name in ("device", "seq")}
    count = len(items) if scanned is None else scanned
    ((branch, _),) = builder.next_requests()
    builder.add(branch, answer, Usage(count, count / 2, 1, 0, 0.01))
    return builder.fill()


def request_of(builder: PageBuilder) -> dict[str, Any]:
    """Return what a builder would ask of its one partition now."""
    ((_, request),) = builder.next_requests()
    return request


def behind(page: Page) -> int | None:
    """Return the number of the item behind which a page ends; None at the end of the range."""
    if page.content.next is None:
        return None
    (key,) = decode_cursor(page.content.next, 1)
    assert isinstance(key, Mapping)
    return int(key["seq"]["N"])


def test_a_full_answer_makes_a_full_page() -> None:
    """DynamoDB stops at Limit, and the next page begins behind its last evaluated key."""
    builder = make_builder()
    assert request_of(builder)["Limit"] == 10
    assert feed(builder, ITEMS[:10], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == ITEMS[:10]
    assert behind(page) == 9
    assert page.usage == Usage(10, 5.0, 1, 0, 0.01)
    assert page.content.read_at == 1_000.0


def test_the_end_of_the_range_is_the_missing_key() -> None:
    """Neither a short answer nor a full one says anything about what follows."""
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
    """Some imitations of DynamoDB answer so."""
    builder = make_builder()
    ((branch, _),) = builder.next_requests()
    builder.add(branch, {"Items": [], "LastEvaluatedKey": {}}, Usage())
    assert builder.fill() is PageEnd.EXHAUSTED
    assert builder.next_requests() == []


def test_an_item_too_many_is_withheld() -> None:
    """The page then ends behind the last item that was delivered or rejected."""
    builder = make_builder(page_size=3)
    assert feed(builder, ITEMS[:7], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == ITEMS[:3]
    assert behind(page) == 2


def test_items_rejected_behind_a_full_page_are_passed() -> None:
    """The furthest position: what was evaluated and does not match need not be read again."""
    lows = [item for item in ITEMS if item["level"]["S"] == "low"]
    builder = make_builder(LOCAL, page_size=1)
    assert feed(builder, [lows[2], lows[0], lows[1], lows[3]], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == [lows[2]]
    assert behind(page) == int(lows[1]["seq"]["N"])
    (position,) = decode_cursor(page.content.next or b"", 1)
    assert isinstance(position, Mapping)
    assert set(position) == {"level", "seq", "device"}, "an index's position has both keys"


def test_withheld_before_anything_of_an_answer_was_taken() -> None:
    """The position stays where the answer began."""
    builder = make_builder(page_size=10, max_bytes=1)
    assert feed(builder, ITEMS[:1], more=True) is None
    assert feed(builder, ITEMS[1:4], more=True) is PageEnd.RESPONSE_BYTES
    page = builder.partial_page(PageEnd.RESPONSE_BYTES)
    assert items_of(page) == ITEMS[:1]
    assert behind(page) == 0


def test_bytes_are_bounded() -> None:
    """A page never holds more, and goes on with the item that did not fit."""
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
    """A page takes its first item however large it is: 400 KB of DynamoDB fit any message."""
    large = {**ITEMS[0], "note": {"S": "x" * 400_000}}
    builder = make_builder(max_bytes=1_000)
    assert feed(builder, [large, ITEMS[1]], more=False) is PageEnd.RESPONSE_BYTES
    page = builder.partial_page(PageEnd.RESPONSE_BYTES)
    assert items_of(page) == [large]
    assert behind(page) == 0


def test_the_scan_budget_ends_a_page_with_its_progress() -> None:
    """Asked for no more than is left, and ended where DynamoDB stopped."""
    builder = make_builder(make_plan("device = 'd' AND value > 100"), max_scanned_items=8)
    assert request_of(builder)["Limit"] == 8
    assert feed(builder, [], more=True, scanned=5) is None
    assert request_of(builder)["Limit"] == 3
    assert feed(builder, ITEMS[11:13], more=True, scanned=3) is PageEnd.SCAN_BUDGET
    page = builder.partial_page(PageEnd.SCAN_BUDGET)
    assert page.content.count == 2
    assert behind(page) == 12


def test_the_read_unit_budget_ends_a_page_with_its_progress() -> None:
    """Once it is reached or passed: what an answer costs is known afterwards."""
    builder = make_builder(max_read_units=2.0)
    assert feed(builder, ITEMS[:3], more=True) is None
    assert feed(builder, ITEMS[3:5], more=True) is PageEnd.READ_UNIT_BUDGET
    assert behind(builder.partial_page(PageEnd.READ_UNIT_BUDGET)) == 4


@pytest.mark.parametrize("fields", [{"max_scanned_items": 10}, {"max_read_units": 1.0}])
def test_a_full_page_is_full_whatever_it_cost(fields: dict[str, Any]) -> None:
    """The reason is the budget's only where the page lacks something for it."""
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
def test_the_limit_follows_the_share_of_matches(answers: list[tuple[int, int]], limit: int) -> None:
    """A rare match is found in few requests, a common one wastes little; never past 10,000."""
    builder = make_builder(make_plan("device = 'd' AND value > 0"))
    for matches, scanned in answers:
        feed(builder, ITEMS[:matches], more=True, scanned=scanned)
    assert request_of(builder)["Limit"] == limit


def test_only_what_is_wanted_is_encoded() -> None:
    """Attributes that the position needed are dropped, paths are cut out."""
    builder = make_builder(make_plan(projection=("value",)))
    feed(builder, ITEMS[:2], more=True)
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert items_of(page) == [{"value": {"N": "0"}}, {"value": {"N": "10"}}]
    assert behind(page) == 1


def test_paths_are_cut_out_of_what_the_service_had_to_see() -> None:
    """Where DynamoDB cut a list already, its elements are kept as they come."""
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


# Where items are hidden


def hiding_plan() -> Plan:
    """Return a plan that reads past items which its caller may not have."""
    rule = RowRule(parse_expression("level = 'low'", {}), as_filter=True)
    plan = plan_query(PLAIN_QUERY, PLAIN.table, rule)
    assert plan.hides_cost
    return plan


def test_a_page_is_not_full_before_the_next_item_is_known() -> None:
    """That more was evaluated says nothing to a caller who does not know of what was hidden."""
    builder = make_builder(hiding_plan(), page_size=2)
    low = [item for item in ITEMS if item["level"] == {"S": "low"}]
    assert feed(builder, low[:2], more=True, scanned=3) is None
    assert request_of(builder)["Limit"] >= 1
    assert feed(builder, [], more=True, scanned=5) is None
    assert feed(builder, low[2:3], more=True) is PageEnd.PAGE_FULL
    page = builder.partial_page(PageEnd.PAGE_FULL)
    assert page.content.count == 2
    assert behind(page) is not None


def test_a_page_that_nothing_visible_follows_is_the_last() -> None:
    """However much of what is hidden follows."""
    builder = make_builder(hiding_plan(), page_size=2)
    low = [item for item in ITEMS if item["level"] == {"S": "low"}]
    assert feed(builder, low[:2], more=True, scanned=3) is None
    assert feed(builder, [], more=False, scanned=500) is PageEnd.EXHAUSTED
    assert builder.partial_page(PageEnd.EXHAUSTED).content.next is None


def test_what_a_rule_hides_is_dropped_whoever_lets_it_through() -> None:
    """Each item is checked, though the filter should have."""
    builder = make_builder(hiding_plan(), page_size=10)
    assert feed(builder, ITEMS[:6], more=False) is PageEnd.EXHAUSTED
    assert builder.partial_page(PageEnd.EXHAUSTED).content.count == 4
