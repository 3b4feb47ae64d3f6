"""Tests of `CountItems`: the number, its relation to the true number, and its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pytest
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import (
    Budget,
    QuerySpec,
)
from tests.rpc.counting import BYPASS, every_call, fresh, lows, said, status, up_to
from tests.rpc.data import COUNTS, ULRIKE, VIKTOR, event
from tests.support.conditions import WireItem
from tests.support.running import Service, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_EVENTS: Final = [event(user, at) for user, n in COUNTS.items() for at in range(1, n + 1)]


def at(item: WireItem) -> int:
    """Return the time of an event."""
    return int(item["at"]["N"])


_QUERIES: Final[dict[str, tuple[str, str, Callable[[WireItem], bool]]]] = {
    "partition": ("events", f"user_id = '{ULRIKE}'", lambda e: e["user_id"]["S"] == ULRIKE),
    "both ends excluded": (
        "events", f"user_id = '{ULRIKE}' AND at > 10 AND at < 20",
        lambda e: e["user_id"]["S"] == ULRIKE and 10 < at(e) < 20,
    ),
    "one end excluded": (
        "events", f"user_id = '{ULRIKE}' AND at >= 10 AND at < 20",
        lambda e: e["user_id"]["S"] == ULRIKE and 10 <= at(e) < 20,
    ),
    "excluded ends that no item has": (
        "events", f"user_id = '{ULRIKE}' AND at > 10.5 AND at < 19.5",
        lambda e: e["user_id"]["S"] == ULRIKE and 10 < at(e) < 20,
    ),
    "filter": (
        "events", f"user_id = '{ULRIKE}' AND contains(note, '0')",
        lambda e: e["user_id"]["S"] == ULRIKE and "0" in e["note"]["S"],
    ),
    "filter of the service": (
        "events", f"user_id = '{ULRIKE}' AND at IN (3, 5, 7, 251)",
        lambda e: e["user_id"]["S"] == ULRIKE and at(e) in (3, 5, 7, 251),
    ),
    "both filters": (
        "events", f"user_id = '{ULRIKE}' AND at <> 40 AND contains(note, '4')",
        lambda e: e["user_id"]["S"] == ULRIKE and at(e) != 40 and "4" in e["note"]["S"],
    ),
    "local index": (
        "events", f"user_id = '{ULRIKE}' AND level = 3",
        lambda e: e["user_id"]["S"] == ULRIKE and e["level"]["N"] == "3",
    ),
    "global index": ("events", "system_id = 'crm' AND at < 20",
                     lambda e: e["system_id"]["S"] == "crm" and at(e) < 20),
    "several partitions": (
        "events", f"user_id IN ('{VIKTOR}', 'nobody', '{ULRIKE}') AND at > 3",
        lambda e: at(e) > 3,
    ),
    "several partitions and a filter of the service": (
        "events", f"user_id IN ('{VIKTOR}', '{ULRIKE}') AND at > 3 AND at < 100 AND at <> 50",
        lambda e: 3 < at(e) < 100 and at(e) != 50,
    ),
    "one item": ("events", f"user_id = '{ULRIKE}' AND at = 250",
                 lambda e: e["user_id"]["S"] == ULRIKE and at(e) == 250),
    "one item that a filter drops": (
        "events", f"user_id = '{ULRIKE}' AND at = 250 AND level = 0", lambda e: False
    ),
    "no such item": ("events", f"user_id = '{ULRIKE}' AND at = 251", lambda e: False),
    "contradiction": ("events", f"user_id = '{ULRIKE}' AND at > 5 AND at < 5", lambda e: False),
    "scan": ("scannable", "", lambda e: True),
    "scan with a filter": ("scannable", "kind = 'login' OR level = 2",
                           lambda e: "kind" in e or e["level"]["N"] == "2"),
    "attributes that are not shown": ("narrow", f"user_id = '{ULRIKE}' AND level > 4",
                                      lambda e: e["user_id"]["S"] == ULRIKE
                                      and int(e["level"]["N"]) > 4),
}  # fmt: skip


@pytest.mark.parametrize("counted", _QUERIES.values(), ids=_QUERIES)
async def test_a_count_equals_the_number_of_items(
    service: Service, counted: tuple[str, str, Callable[[WireItem], bool]]
) -> None:
    """The count is right at once, in budgeted steps, and with a bound beyond it."""
    table, text, matches = counted
    right = sum(map(matches, _EVENTS))
    spec = query_spec(table, text)
    whole = await service.count(spec, cache=BYPASS)
    assert said(whole) == (right, "EXACT", "EXHAUSTED")
    assert whole.next_page_token == ""
    assert whole.stats.items_returned == 0
    steps = await every_call(service, spec, cache=BYPASS, budget=Budget(max_scanned_items=17))
    assert steps[-1].total == whole.total
    assert all(step.stats.items_scanned <= 17 for step in steps)
    bounded = await service.count(spec, cache=BYPASS, total=up_to(right + 1))
    assert bounded.total == whole.total


async def test_order_and_projection_make_no_difference(
    service: Service,
) -> None:
    """Queries that differ in them have the same count and the same cache entry."""
    spec = fresh()
    assert said(await service.count(spec)) == (250, "EXACT", "EXHAUSTED")
    for fields in ({"order": "ORDER_DESCENDING"}, {"projection": ["at", "address.city"]}):
        other = QuerySpec()
        other.CopyFrom(spec)
        other.MergeFrom(QuerySpec(**fields))
        answer = await service.count(other)
        assert (said(answer), status(answer)) == ((250, "EXACT", "EXHAUSTED"), "HIT")
    backwards = await service.count(query_spec("scannable", order="ORDER_DESCENDING"))
    assert said(backwards)[0] == 255


async def test_an_index_that_holds_too_little_for_the_items_can_count_them(
    service: Service,
) -> None:
    """Only the condition's attributes are read."""
    answer = await service.count(query_spec("events", "kind = 'login'"))
    assert said(answer) == (25, "EXACT", "EXHAUSTED")
    assert answer.stats.index_used == "by_kind"


async def test_a_consistent_count_is_not_cached(service: Service) -> None:
    """It is read anew, at twice the cost."""
    eventual = await service.count(fresh(), cache=BYPASS)
    for _ in range(2):
        strong = await service.count(fresh(consistency="CONSISTENCY_STRONG"))
        assert status(strong) == "BYPASSED"
        assert strong.stats.read_units == 2 * eventual.stats.read_units


@pytest.mark.parametrize(
    ("bound", "answer"),
    [
        (1, (1, "AT_LEAST", "PAGE_FULL")),
        (249, (249, "AT_LEAST", "PAGE_FULL")),
        (250, (250, "AT_LEAST", "PAGE_FULL")),
        (251, (250, "EXACT", "EXHAUSTED")),
        (2**63 - 1, (250, "EXACT", "EXHAUSTED")),
    ],
)
async def test_a_bounded_count_stops_at_its_bound(
    service: Service, bound: int, answer: tuple[int, str, str]
) -> None:
    """It reads no further, and returns no token."""
    counted = await service.count(fresh(), total=up_to(bound))
    assert said(counted) == answer
    assert counted.next_page_token == ""
    assert counted.stats.items_scanned <= bound


@pytest.mark.parametrize("bound", [1, 2, 20, 100, 254, 255])
@pytest.mark.parametrize(
    "more", ["", "AND at <> 17", "AND NOT contains(note, 'xyz')"], ids=["all", "local", "filter"]
)
async def test_a_bounded_count_is_never_over_its_bound(
    service: Service, bound: int, more: str
) -> None:
    """Several partitions are read at once, and their last answers may have more items."""
    spec = query_spec("events", f"user_id IN ('{ULRIKE}', '{VIKTOR}') {more}")
    right = 255 - ("17" in more)
    answer = await service.count(spec, total=up_to(bound))
    value, relation, _ = said(answer)
    assert value == min(bound, right)
    assert relation == "AT_LEAST" or value == right
    assert answer.next_page_token == ""


@pytest.mark.parametrize(
    ("budget", "end"),
    [
        (Budget(max_scanned_items=40), "SCAN_BUDGET"),
        (Budget(max_read_units=0.1), "READ_UNIT_BUDGET"),
        (Budget(max_duration=Duration(nanos=1)), "TIME_BUDGET"),
    ],
    ids=["scanned items", "read units", "time"],
)
@pytest.mark.parametrize("table", ["events", "uncached"])
async def test_a_budgeted_count_goes_on_from_its_token(
    service: Service, table: str, budget: Budget, end: str
) -> None:
    """The number is that of the whole chain, the statistics are each call's own."""
    spec = fresh(ULRIKE, "AND at <> 99", table=table)
    answers = await every_call(service, spec, budget=budget)
    values = [answer.total.value for answer in answers]
    assert values == sorted(values)
    assert said(answers[-1]) == (249, "EXACT", "EXHAUSTED")
    assert {said(answer)[1:] for answer in answers[:-1]} <= {("AT_LEAST", end)}
    assert sum(answer.stats.items_scanned for answer in answers) == 250
    assert all(answer.stats.backend_calls > 0 for answer in answers)
    if budget.max_scanned_items:
        assert len(answers) > 6


@pytest.mark.parametrize("budget", [1, 2, 3, 5, 16])
async def test_a_budget_holds_for_all_partitions_together(service: Service, budget: int) -> None:
    """No call evaluates more items, and each one makes progress."""
    users = ", ".join(f"'{user}'" for user in (ULRIKE, "nobody", VIKTOR, "no one"))
    spec = query_spec("events", f"user_id IN ({users}) AND at < 60 AND at > :low",
                      parameters={"low": next(lows)})  # fmt: skip
    answers = await every_call(service, spec, budget=Budget(max_scanned_items=budget))
    assert all(answer.stats.items_scanned <= budget for answer in answers)
    assert said(answers[-1]) == (64, "EXACT", "EXHAUSTED")
    tokens = [answer.next_page_token for answer in answers]
    assert len(set(tokens)) == len(tokens)


async def test_a_chain_may_change_its_bound(service: Service) -> None:
    """Earlier items stay counted; a bound below their number is reached without a read."""
    spec = fresh()
    first = await service.count(spec, budget=Budget(max_scanned_items=100))
    assert said(first) == (100, "AT_LEAST", "SCAN_BUDGET")
    token = first.next_page_token
    for bound in (40, 100):
        reached = await service.count(spec, page_token=token, total=up_to(bound))
        assert said(reached) == (bound, "AT_LEAST", "PAGE_FULL")
        assert reached.stats.backend_calls == 0
        assert reached.next_page_token == ""
    further = await service.count(spec, page_token=token, total=up_to(140))
    assert said(further) == (140, "AT_LEAST", "PAGE_FULL")
    assert further.stats.items_scanned == 40
    assert said(await service.count(spec, page_token=token)) == (250, "EXACT", "EXHAUSTED")
