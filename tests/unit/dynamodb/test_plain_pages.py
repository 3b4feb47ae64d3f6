"""The builder of plain pages builds the pages that the general builder builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeAlias

import pytest

from dynamodb_processor_server.cursor import encode_cursor
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.dynamodb.page_items import BATCH
from dynamodb_processor_server.dynamodb.plain_pages import PlainPageBuilder, is_plain
from dynamodb_processor_server.errors import ItemTooLarge
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import START, Cursor, PageEnd, PageRead, ReadAhead, Usage
from tests.support.fake_reader import items_of
from tests.support.reads import CALLER, far_options
from tests.unit.dynamodb.small_table import LOCAL, SCHEMA, make_items, make_plan
from tests.unit.query.tables import make_table

ROUNDS = 750
NOW = 1_000.0

_Builder: TypeAlias = "PlainPageBuilder | PageBuilder"


def request_for(
    plan: Plan,
    page_size: int = 10,
    cursor: Cursor = START,
    read_ahead: ReadAhead | None = None,
    **fields: Any,
) -> PageRead:
    """Return the request for a page; `fields` are those of its options."""
    options = far_options(page_size, **fields)
    return PageRead(plan, cursor, options, CALLER, None, read_ahead)


def make_builder(plan: Plan, page_size: int = 10, max_bytes: int = 1_000_000) -> PlainPageBuilder:
    """Return a builder of the page at the start."""
    return PlainPageBuilder(request_for(plan, page_size), max_bytes, NOW)


def answer_to(request: dict[str, Any], items: Sequence[WireItem], cap: int) -> dict[str, Any]:
    """Return the answer of a partition of `items`, of which an answer holds `cap` at most."""
    start = request.get("ExclusiveStartKey")
    first = 0 if start is None else 1 + int(start["seq"]["N"])
    size = min(cap, request["Limit"])
    found = items[first : first + size]
    answer: dict[str, Any] = {"Items": found, "ScannedCount": len(found)}
    if items and len(found) == size:  # As DynamoDB, without a look whether more follows.
        key = found[-1] if found else (start or items[0])
        answer["LastEvaluatedKey"] = {name: key[name] for name in ("device", "seq")}
    return answer


@dataclass
class AllPages:
    """The pages of one call by one builder, with everything that it has shown."""

    plain: bool
    shown: list[Any] = field(default_factory=list)

    def run(self, plan: Plan, items: Sequence[WireItem], sizes: Sizes, seed: int) -> None:
        """Read every page; the answers depend on the seed and the requests alone."""
        random = Random(seed)
        cursor: Cursor | None = START
        ahead: ReadAhead | None = None
        for number in range(200):
            assert cursor is not None
            request = request_for(
                plan, sizes.page, cursor, ahead, reads_on=sizes.reads_on, **sizes.budget
            )
            kind: Any = PlainPageBuilder if self.plain else PageBuilder
            builder = kind(request, sizes.page_bytes, NOW + number, sizes.item_bytes)
            try:
                page = self._page(builder, items, random)
            except ItemTooLarge as error:
                self.shown.append((str(error), error.behind))
                cursor, ahead = error.behind, None
            else:
                cursor, ahead = page.content.next, page.read_ahead
            if cursor is None:
                return
        raise AssertionError("pages that never end")

    def _page(self, builder: _Builder, items: Sequence[WireItem], random: Random) -> Any:
        while (end := builder.fill()) is None:
            ((partition, parameters),) = builder.next_requests()
            self.shown += [parameters, builder.has_progress]
            answer = answer_to(parameters, items, random.choice((0, 1, 3, 60, 200)))
            scanned = answer["ScannedCount"]
            builder.add(partition, answer, Usage(scanned, scanned / 2, 1, 0, 0.01))  # type: ignore[arg-type]
            self.shown.append(builder.partial_page(PageEnd.TIME_BUDGET))
        page = builder.finish(end)
        self.shown += [builder.has_progress, page._replace(read_ahead=None), items_of(page)]
        self.shown.append(page.read_ahead is None)
        return page


@dataclass(frozen=True)
class Sizes:
    """The sizes of the pages of one call."""

    page: int
    page_bytes: int
    item_bytes: int
    reads_on: bool
    budget: dict[str, Any]


def random_sizes(random: Random) -> Sizes:
    """Return sizes at which pages end for every reason."""
    return Sizes(
        page=random.choice((1, 2, 7, 50, 51, 100, 120)),
        page_bytes=random.choice((1, 150, 400, 5_000, 1_000_000)),
        item_bytes=random.choice((200, 1_000, 1_000_000)),
        reads_on=random.random() < 0.5,
        budget=random.choice(({}, {"max_duration": 5.0})),
    )


def random_items(random: Random) -> list[WireItem]:
    """Return items of one partition; some are long, some expire, and some lack attributes."""
    items: list[WireItem] = []
    for item in make_items(random.choice((0, 1, 5, 60, 130))):
        more = {
            "note": {"S": "x" * random.choice((0, 10, 300))},
            "gone_at": {"N": str(random.randrange(999, 1_100_000_000))},
        }
        kept = {name: more[name] for name in more if random.random() < 0.3}
        items.append({**item, **kept})
    return items


PLANS = (
    make_plan(),
    make_plan(projection=("value",)),
    make_plan("device = 'd' AND seq >= 0", time_to_live="gone_at"),
)


@pytest.mark.parametrize("seed", range(6))
def test_both_builders_show_the_same(seed: int) -> None:
    """Their requests, pages, cursors, progress and errors are equal on random plain reads.

    They are so for any page size and byte limit, and for answers that DynamoDB cuts anywhere. The
    pages of a stream begin with the items read ahead of them.
    """
    random = Random(seed)
    for _ in range(ROUNDS // 6):
        items, sizes, plan = random_items(random), random_sizes(random), random.choice(PLANS)
        assert is_plain(request_for(plan, **sizes.budget))
        answers = random.randrange(1_000_000)
        both = AllPages(plain=True), AllPages(plain=False)
        for pages in both:
            pages.run(plan, items, sizes, answers)
        assert both[0].shown == both[1].shown


NOT_PLAIN: dict[str, tuple[Plan, dict[str, Any]]] = {
    "filtered by DynamoDB": (make_plan("device = 'd' AND value > 1"), {}),
    "filtered here": (LOCAL, {}),
    "several partitions": (make_plan("device IN ('d', 'e')"), {}),
    "nothing to read": (make_plan("device = 'd' AND seq > 2 AND seq < 1"), {}),
    "a budget of items": (make_plan(), {"max_scanned_items": 5}),
    "a budget of units": (make_plan(), {"max_read_units": 5.0}),
}


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_other_reads_are_not_plain(case: str) -> None:
    """A read with a filter, other partitions or a budget needs the general builder."""
    plan, budget = NOT_PLAIN[case]
    assert not is_plain(request_for(plan, **budget))


@pytest.mark.parametrize("text", ["device = 'd'", "level = 'low'"])
def test_a_read_under_a_row_rule_is_not_plain(text: str) -> None:
    """The rule is evaluated on every item, also where the key condition includes it."""
    query = Query("readings", parse_expression("device = 'd'", {}))
    rule = RowRule(parse_expression(text, {}), as_filter=True)
    assert not is_plain(request_for(plan_query(query, make_table(SCHEMA), rule)))


def test_a_page_pauses_between_batches() -> None:
    """Long pages are encoded in slices, and no item is lost or repeated between them."""
    items = make_items(3 * BATCH + 5)
    request = request_for(make_plan(), len(items))
    builder = PlainPageBuilder(request, 1_000_000, NOW, pause_after=0.0)
    ((partition, parameters),) = builder.next_requests()
    builder.add(partition, answer_to(parameters, items, len(items)), Usage(len(items)))
    pauses = 0
    while (end := builder.fill()) is None and builder.paused:
        pauses += 1
        assert builder.partial_page(PageEnd.TIME_BUDGET).content.count == pauses * BATCH
    assert pauses == 3
    assert end is PageEnd.PAGE_FULL
    assert items_of(builder.finish(end)) == items


def test_items_of_another_builder_are_read_again() -> None:
    """A buffer that the builder does not know is dropped, and the cursor is where it begins."""
    items = make_items(30)
    general = PageBuilder(request_for(make_plan(), 5, reads_on=True), 1_000_000, NOW)
    assert general.fill() is None
    ((partition, parameters),) = general.next_requests()
    general.add(partition, answer_to({**parameters, "Limit": 8}, items, 8), Usage(8, 4.0, 1))
    end = general.fill()
    assert end is PageEnd.PAGE_FULL
    first = general.finish(end)
    assert first.content.next is not None
    request = request_for(make_plan(), 5, first.content.next, first.read_ahead, reads_on=True)
    builder = PlainPageBuilder(request, 1_000_000, NOW)
    assert builder.fill() is None
    ((_, following),) = builder.next_requests()
    assert following["ExclusiveStartKey"] == {"device": {"S": "d"}, "seq": {"N": "4"}}


def test_an_exhausted_cursor_reads_nothing() -> None:
    """The page at the end of the range is empty, and is the last."""
    request = request_for(make_plan(), cursor=encode_cursor(({"device": {"S": "d"}},)))
    builder = PlainPageBuilder(request, 1_000_000, NOW)
    ((partition, _),) = builder.next_requests()
    builder.add(partition, {"Items": (), "LastEvaluatedKey": {}}, Usage())
    assert builder.fill() is PageEnd.EXHAUSTED
    assert builder.next_requests() == []
    assert builder.finish(PageEnd.EXHAUSTED).content.next is None


def test_a_get_has_no_limit() -> None:
    """The one item of a full primary key is got, which has neither a limit nor a cursor."""
    builder = make_builder(make_plan("device = 'd' AND seq = 3"))
    ((partition, parameters),) = builder.next_requests()
    assert parameters.keys() <= {"TableName", "Key", "ReturnConsumedCapacity", "ConsistentRead"}
    builder.add(partition, {"Items": make_items(1)}, Usage(1, 0.5, 1))
    assert builder.fill() is PageEnd.EXHAUSTED
    assert builder.finish(PageEnd.EXHAUSTED).content.count == 1
