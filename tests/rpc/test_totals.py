"""Tests of `total`: the number of items that a query matches, with its pages."""

from __future__ import annotations

import itertools
from typing import Any, Final

import pytest
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    TOTAL_MODE_BOUNDED,
    TOTAL_MODE_EXACT,
    TOTAL_MODE_NONE,
    Budget,
    CachePolicy,
    CacheStatus,
    PageEnd,
    QuerySpec,
    TotalOptions,
    TotalRelation,
)
from dynamodb_processor.v1.query_service_pb2 import (
    CountItemsRequest,
    QueryRequest,
    StreamQueryRequest,
)
from tests.rpc.data import ULRIKE
from tests.rpc.logged import Logged
from tests.rpc.violating import good, refusal
from tests.support.running import Service, eventually, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BYPASS: Final = CachePolicy(mode=CACHE_MODE_BYPASS)
_EXACT: Final = TotalOptions(mode=TOTAL_MODE_EXACT)
_lows = itertools.count(-2_000_000)


def fresh(more: str = "", **fields: Any) -> QuerySpec:
    """Return a query that is not cached yet: all of a user's events, in another spelling."""
    parameters = {"u": ULRIKE, "low": next(_lows)}
    text = f"user_id = :u AND at > :low {more}"
    return query_spec("events", text, parameters=parameters, **fields)


def up_to(number: int) -> TotalOptions:
    """Return the options of a bounded total."""
    return TotalOptions(mode=TOTAL_MODE_BOUNDED, up_to=number)


def said(answer: Any) -> tuple[int, str]:
    """Return the number, and its relation to the true number."""
    relation = TotalRelation.Name(answer.total.relation).removeprefix("TOTAL_RELATION_")
    return answer.total.value, relation


async def test_a_page_has_the_total_of_the_whole_query(service: Service) -> None:
    """Page size, `max_items` and order make no difference; a page in the middle has it too."""
    spec = fresh("AND at <> 7", order="ORDER_DESCENDING", max_items=30)
    first = await service.query(spec, page_size=10, total=_EXACT)
    assert (len(first.items), said(first)) == (10, (249, "EXACT"))
    second = await service.query(spec, page_size=10, page_token=first.next_page_token, total=_EXACT)
    assert (len(second.items), said(second)) == (10, (249, "EXACT"))


async def test_without_the_option_there_is_no_total(service: Service) -> None:
    """The option "none" gives no total either; the tokens are the same."""
    spec = fresh()
    without = await service.query(spec, page_size=10)
    page = await service.query(spec, page_size=10, total=TotalOptions(mode=TOTAL_MODE_NONE))
    assert not without.HasField("total")
    assert not page.HasField("total")
    rest = await service.query(spec, page_token=page.next_page_token, total=TotalOptions())
    assert said(rest) == (250, "EXACT")


@pytest.mark.parametrize(
    ("bound", "answer"),
    [(1, (1, "AT_LEAST")), (250, (250, "AT_LEAST")), (251, (250, "EXACT"))],
)
async def test_a_total_may_have_a_bound(
    service: Service, bound: int, answer: tuple[int, str]
) -> None:
    """It is never over its bound, even if more items were returned."""
    assert said(await service.query(fresh(), page_size=100, total=up_to(bound))) == answer


async def test_a_total_and_a_count_are_one_entry(service: Service) -> None:
    """After one of them, the other costs nothing; the page has its own entry."""
    spec = fresh()
    await service.count(spec)
    page = await service.query(spec, page_size=10, total=_EXACT)
    assert said(page) == (250, "EXACT")
    assert page.stats.items_scanned == 10
    other = fresh()
    both = await service.query(other, page_size=10, total=_EXACT)
    assert both.stats.items_scanned == 260
    count = await service.count(other)
    assert CacheStatus.Name(count.cache.status) == "CACHE_STATUS_HIT"
    again = await service.query(other, page_size=10, total=_EXACT)
    assert CacheStatus.Name(again.cache.status) == "CACHE_STATUS_HIT"
    assert (again.stats.backend_calls, said(again)) == (0, (250, "EXACT"))


async def test_the_cost_of_counting_is_the_calls(service: Service, logged: Logged) -> None:
    """It is in the call's statistics and in the access log."""
    spec = fresh()
    page = await service.query(spec, page_size=10, cache=_BYPASS)
    count = await service.count(spec, cache=_BYPASS)
    logged.clear()
    both = await service.query(spec, page_size=10, cache=_BYPASS, total=_EXACT)
    assert both.stats.read_units == page.stats.read_units + count.stats.read_units
    assert both.stats.backend_calls == page.stats.backend_calls + count.stats.backend_calls
    assert both.stats.items_returned == 10
    (record,) = await eventually(lambda: logged.of("call"))
    assert record["read_units"] == both.stats.read_units


@pytest.mark.parametrize("mode", [_BYPASS, None], ids=["uncached", "cached"])
async def test_a_stream_counts_once(service: Service, mode: CachePolicy | None) -> None:
    """All its messages have the total, the first one its cost."""
    messages = await service.messages(fresh(), page_size=60, cache=mode, total=_EXACT)
    assert [said(message) for message in messages] == [(250, "EXACT")] * len(messages)
    assert len(messages) == 5
    assert sum(message.stats.items_scanned for message in messages) == 500
    assert messages[0].stats.items_scanned >= 310
    assert messages[-1].cumulative.items_scanned == 500
    assert sum(len(message.items) for message in messages) == 250


@pytest.mark.parametrize("budget", [20, 100, 269, 270, 1_000])
async def test_a_budget_covers_the_page_and_the_total(service: Service, budget: int) -> None:
    """The page is read first; a count that is cut short says so, and includes returned items."""
    spec = fresh()
    page = await service.query(
        spec, page_size=20, total=_EXACT, cache=_BYPASS, budget=Budget(max_scanned_items=budget)
    )
    assert len(page.items) == 20
    assert page.stats.items_scanned <= budget
    # The last evaluated key at the very end of the budget leaves open whether more follows.
    expected = (250, "EXACT") if budget > 270 else (max(20, budget - 20), "AT_LEAST")
    assert said(page) == (min(250, expected[0]), expected[1])


async def test_a_page_that_says_it_all_needs_no_count(service: Service) -> None:
    """This matters under a budget, in which every item counts."""
    budget = Budget(max_scanned_items=300)
    page = await service.query(fresh(), page_size=1_000, total=_EXACT, cache=_BYPASS, budget=budget)
    assert (said(page), page.stats.items_scanned) == ((250, "EXACT"), 250)


async def test_a_budgeted_stream_ends_when_page_and_total_have_spent_it(service: Service) -> None:
    """No message evaluates items beyond the budget that the count has used up."""
    messages = await service.messages(
        fresh(), page_size=50, cache=_BYPASS, total=_EXACT, budget=Budget(max_scanned_items=330)
    )
    assert messages[-1].last
    assert messages[-1].end == PageEnd.PAGE_END_SCAN_BUDGET
    assert messages[-1].cumulative.items_scanned <= 330
    assert {said(message) for message in messages} == {(250, "EXACT")}


async def test_a_total_that_runs_out_of_time_is_at_least(service: Service) -> None:
    """It is the number counted so far, and at least that of the returned items."""
    page = await service.query(
        fresh(), page_size=20, total=_EXACT, budget=Budget(max_duration=Duration(nanos=1))
    )
    value, _ = said(page)
    assert 20 <= value <= 250


async def test_a_consistent_query_has_a_consistent_total(service: Service) -> None:
    """It is counted on the path of the pages, at any cost."""
    for index in ("", "by_level"):
        spec = fresh("AND level = 3", consistency="CONSISTENCY_STRONG", index=index)
        page = await service.query(spec, page_size=5, total=_EXACT)
        assert said(page) == (sum(at % 7 == 3 for at in range(1, 251)), "EXACT")


async def test_a_forced_index_counts_its_items(service: Service) -> None:
    """The total is that of the pages: a sparse index does not have every item."""
    spec = query_spec("events", "kind = 'login'", index="by_kind")
    assert said(await service.query(spec, page_size=5, total=_EXACT)) == (25, "EXACT")
    scan = query_spec("scannable", "level < 100", index="by_kind")
    assert said(await service.query(scan, page_size=5, total=_EXACT)) == (25, "EXACT")


_BAD: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "unknown mode": ({"mode": 9}, "total.mode"),
    "no bound": ({"mode": TOTAL_MODE_BOUNDED}, "total.up_to"),
    "bound 0": ({"mode": TOTAL_MODE_BOUNDED, "up_to": 0}, "total.up_to"),
    "bound of nothing": ({"mode": TOTAL_MODE_NONE, "up_to": 5}, "total.up_to"),
    "bound of all": ({"up_to": 5}, "total.up_to"),
}


@pytest.mark.parametrize("row", _BAD.values(), ids=_BAD)
@pytest.mark.parametrize("kind", [QueryRequest, StreamQueryRequest], ids=["Query", "StreamQuery"])
async def test_a_bad_total_is_refused_with_its_field(
    service: Service,
    row: tuple[dict[str, Any], str],
    kind: type[QueryRequest | StreamQueryRequest],
) -> None:
    """It is refused like other invalid options."""
    options, field = row
    found = await refusal(service, kind(query=good(), total=TotalOptions(**options)))
    assert found.fields == [field]


async def test_a_count_of_nothing_is_refused(service: Service) -> None:
    """That mode is for pages."""
    request = CountItemsRequest(query=good(), total=TotalOptions(mode=TOTAL_MODE_NONE))
    assert (await refusal(service, request)).fields == ["total.mode"]
