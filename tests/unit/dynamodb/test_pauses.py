"""Evaluation in slices: pages and counts are the same for any pauses."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any, cast

import pytest

from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.count_builder import CountBuilder
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.errors import RateLimited
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import START, Page, PageEnd, PageRead, Usage
from tests.support.reads import CALLER, far_options
from tests.support.work import counted_work
from tests.unit.dynamodb.small_table import LOCAL, SCHEMA, make_items, make_plan
from tests.unit.query.tables import make_table

_ITEMS = make_items(30)
_COUNTING = plan_query(
    Query(
        "readings",
        parse_expression("level = 'low' AND seq <> 1 AND seq <> 2", {}),
        index="by_level",
        counts=True,
    ),
    make_table(SCHEMA),
)


@pytest.fixture
def always_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that advances a second with each reading."""
    seconds = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))


def _finish(builder: Any) -> tuple[Page, int]:
    """Give a builder all items in one answer; return its page and how often it paused."""
    pauses = 0
    answered = False
    while (end := builder.fill()) is None:
        if builder.paused:
            pauses += 1
            continue
        assert not answered
        ((branch, _),) = builder.next_requests()
        builder.add(branch, {"Items": _ITEMS, "Count": len(_ITEMS)}, Usage(30, 15.0, 1))
        answered = True
    return builder.partial_page(end), pauses


@pytest.mark.usefixtures("always_over")
def test_a_page_is_the_same_in_slices() -> None:
    """The page continues after the last item that it evaluated."""
    whole, never = _finish(
        PageBuilder(PageRead(LOCAL, START, far_options(100), CALLER), 1_000_000, 1_000.0)
    )
    sliced, often = _finish(
        PageBuilder(
            PageRead(LOCAL, START, far_options(100), CALLER),
            1_000_000,
            1_000.0,
            pause_after=0.005,
        )
    )
    assert never == 0
    assert often >= len(_ITEMS) - 1
    assert sliced.content == whole.content


@pytest.mark.usefixtures("always_over")
def test_a_page_of_whole_answers_pauses_between_batches() -> None:
    """Items that need no evaluation are encoded in batches, and pages are the same."""
    items = make_items(1_000)
    pages, pauses = [], 0
    for pause_after in (math.inf, 0.005):
        request = PageRead(make_plan(), START, far_options(1_000), CALLER)
        builder = PageBuilder(request, 1_000_000, 1_000.0, pause_after=pause_after)
        ((partition, _),) = builder.next_requests()
        builder.add(partition, {"Items": items}, Usage(1_000, 500.0, 1))
        while (end := builder.fill()) is None:
            assert builder.paused
            pauses += 1
        pages.append(builder.partial_page(end))
    assert pauses >= 10
    assert pages[0] == pages[1]


@pytest.mark.usefixtures("always_over")
def test_the_cursor_of_a_count_moves_after_all_of_an_answer() -> None:
    """A count cancelled in a pause keeps its cursor, so no item is lost or counted twice."""
    whole, never = _finish(
        CountBuilder(PageRead(_COUNTING, START, far_options(100), CALLER), 1_000.0)
    )
    builder = CountBuilder(PageRead(_COUNTING, START, far_options(100), CALLER), 1_000.0, 0.005)
    assert builder.fill() is None
    ((branch, _),) = builder.next_requests()
    builder.add(branch, {"Items": _ITEMS, "Count": len(_ITEMS)}, Usage(30, 15.0, 1))
    pauses = 0
    while (end := builder.fill()) is None:
        pauses += 1
        assert not builder.has_progress
        assert builder.partial_page(PageEnd.TIME_BUDGET).content.count == 0
    assert (never, pauses >= len(_ITEMS) - 1) == (0, True)
    assert builder.partial_page(end).content == whole.content


async def test_evaluating_is_refused_to_a_caller_in_debt() -> None:
    """It is refused before a request; a query that DynamoDB filters by itself is unaffected."""
    planning = PlanningTimeLimits({"default": RateClass(1, planning_seconds_per_second=0.1)})
    planning.charge(CALLER.principal, 3_600.0)
    reader = DynamoDBReader(cast(Backend, None), 1_000_000, planning=planning)
    with pytest.raises(RateLimited):
        await reader.read_page(PageRead(LOCAL, START, far_options(10), CALLER))


def test_a_large_attribute_is_read_once_for_a_condition() -> None:
    """The attribute is read once however often the condition names it."""
    item = {"a": {"L": [{"N": str(n)} for n in range(1_000)]}}
    work = []
    for count in (1, 100):
        condition = parse_expression(" OR ".join(["a = 'x'"] * count), {})
        with counted_work() as counted:
            assert not evaluate(condition, item)
        work.append(counted.calls)
    assert work[1] < 2 * work[0]
