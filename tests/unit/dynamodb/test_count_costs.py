"""Costs of bounded counts, on a table that charges as DynamoDB does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.dynamodb.count_builder import CountBuilder
from dynamodb_processor_server.dynamodb.page_builder import PageBuilder
from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import (
    NO_PAGE_LIMIT,
    START,
    PageEnd,
    PageRead,
    ReadOptions,
    Usage,
)
from tests.support.reads import CALLER
from tests.unit.dynamodb.small_table import SCHEMA
from tests.unit.query.tables import make_table

_SIZE: Final = 200  # Bytes of an item.
_MOST: Final = 1024 * 1024 // _SIZE
_LIMITS: Final = ReadOptions(1, 0.0, 0.0)
_OF: Final[dict[str, Callable[[int], bool]]] = {
    "none": lambda number: False,
    "1 %": lambda number: number % 100 == 7,
    "10 %": lambda number: number % 10 == 3,
    "half": lambda number: number % 2 == 0,
    "all": lambda number: True,
}


@dataclass
class Counted:
    """The result of a count and its cost."""

    value: int
    exhausted: bool
    usage: Usage


def count(partitions: Sequence[Sequence[bool]], bound: int) -> Counted:
    """Count the matching items up to a bound; `partitions` say of each item whether it matches.

    A request takes half a unit for each 4 KB that are begun.
    """
    names = ", ".join(f"'{number}'" for number in range(len(partitions)))
    condition = parse_expression(f"device IN ({names}) AND value = 1", {})
    plan = plan_query(Query("readings", condition, counts=True), make_table(SCHEMA))
    assert len(plan.requests) == len(partitions)
    builder = CountBuilder(
        PageRead(plan, START, _LIMITS._replace(page_size=bound), CALLER), now=0.0
    )
    while (end := builder.fill()) is None:
        for branch, request in builder.next_requests():
            device = int(request["ExpressionAttributeValues"][":p0"]["S"])
            held = partitions[device]
            start = int(request.get("ExclusiveStartKey", {"seq": {"N": "0"}})["seq"]["N"])
            behind = min(len(held), start + min(request.get("Limit", _MOST), _MOST))
            answer: dict[str, Any] = {"Count": sum(held[start:behind])}
            if behind - start == request.get("Limit") or behind < len(held):
                key = {"device": {"S": str(device)}, "seq": {"N": str(behind)}}
                answer["LastEvaluatedKey"] = key
            units = max(1, math.ceil((behind - start) * _SIZE / 4096)) / 2
            builder.add(branch, answer, Usage(behind - start, units, 1))
    return Counted(builder.partial_page(end).content.count, end is PageEnd.EXHAUSTED, builder.usage)


@pytest.mark.parametrize("partitions", [1, 50])
@pytest.mark.parametrize("share", _OF)
@pytest.mark.parametrize("size", [60, 3_000, 30_000])
def test_a_bound_costs_no_more_than_one_request(share: str, partitions: int, size: int) -> None:
    """Any bounded count takes at most half a unit more than the exact count."""
    held = [[_OF[share](number) for number in range(size)] for _ in range(partitions)]
    exact = count(held, NO_PAGE_LIMIT)
    for bound in (1, 2, 10, 37, 100, 1_000, 100_000):
        bounded = count(held, bound)
        assert bounded.value >= min(bound, exact.value)
        assert bounded.exhausted or bounded.value >= bound
        assert bounded.usage.read_units <= exact.usage.read_units + 0.5
        assert bounded.usage.backend_calls <= exact.usage.backend_calls + 1


@pytest.mark.parametrize("share", ["10 %", "half", "all"])
def test_a_bound_that_is_soon_reached_is_cheap(share: str) -> None:
    """Little more is read of a large table than the pages with the counted items."""
    held = [[_OF[share](number) for number in range(30_000)] for _ in range(50)]
    rate = sum(held[0]) / len(held[0])
    for bound in (10, 100, 300):
        assert count(held, bound).usage.items_scanned <= 3 * bound / rate + 32


_RUNS: Final = st.lists(st.tuples(st.booleans(), st.integers(0, 400)), max_size=6)


@given(st.lists(_RUNS, min_size=1, max_size=12), st.integers(1, 500))
def test_matches_in_clusters_take_few_requests_more(
    runs: list[list[tuple[bool, int]]], bound: int
) -> None:
    """The bound is reached exactly, and no partition is read in many small pieces."""
    held = [[matches for matches, times in run for _ in range(times)] for run in runs]
    exact, bounded = count(held, NO_PAGE_LIMIT), count(held, bound)
    assert bounded.value >= min(bound, exact.value)
    assert bounded.usage.backend_calls <= 2 * exact.usage.backend_calls + 1


def test_the_last_items_of_a_page_take_few_requests() -> None:
    """Requests still grow if 99 of 100 items were soon found and no more items match."""
    condition = parse_expression("device = 'd' AND value = 1", {})
    plan = plan_query(Query("readings", condition), make_table(SCHEMA))
    builder = PageBuilder(
        PageRead(plan, START, _LIMITS._replace(page_size=100), CALLER), 10**6, now=0.0
    )
    evaluated = requests = 0
    while builder.fill() is None:
        ((branch, request),) = builder.next_requests()
        first, evaluated = evaluated, min(evaluated + request["Limit"], 5_000)
        items = [{"device": {"S": "d"}, "seq": {"N": str(n)}} for n in range(first, evaluated)]
        answer: dict[str, Any] = {"Items": [item for item in items if int(item["seq"]["N"]) < 99]}
        if evaluated < 5_000:
            answer["LastEvaluatedKey"] = items[-1]
        builder.add(branch, answer, Usage(len(items), 1.0, 1))
        requests += 1
    assert builder.partial_page(PageEnd.EXHAUSTED).content.count == 99
    assert requests <= 15
