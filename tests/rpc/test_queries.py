"""Tests of `Query`: the items of a page and the reason of its end."""

from __future__ import annotations

import time
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_STATUS_BYPASSED,
    Budget,
    CachePolicy,
    PageEnd,
    QuerySpec,
)
from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from tests.rpc.data import ULRIKE, VIKTOR
from tests.rpc.logged import Logged
from tests.support.running import Refusal, Service, numbers, query_spec, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_BYPASS = CachePolicy(mode=CACHE_MODE_BYPASS)
_EVERY = list(range(1, 251))


def of(user: str, more: str = "", /, table: str = "events", **fields: Any) -> QuerySpec:
    """Return a query of one user's events."""
    return query_spec(table, f"user_id = :u {more}", parameters={"u": user}, **fields)


def end_of(page: QueryResponse) -> str:
    """Return the reason why a page ends."""
    return PageEnd.Name(page.end).removeprefix("PAGE_END_")


async def every_page(service: Service, spec: QuerySpec, **fields: Any) -> list[QueryResponse]:
    """Return all pages from the first to the one without a token."""
    pages, token = [], ""
    while True:
        pages.append(await service.query(spec, page_token=token, **fields))
        token = pages[-1].next_page_token
        if not token:
            return pages


async def refusal(service: Service, spec: QuerySpec, **fields: Any) -> Refusal:
    """Return the refusal of a query."""
    return await refused(service.query(spec, **fields))


async def test_pages_give_each_item_once_and_in_order(service: Service) -> None:
    """Pages are full, and the last one ends the range."""
    pages = await every_page(service, of(ULRIKE), page_size=80)
    assert [len(page.items) for page in pages] == [80, 80, 80, 10]
    assert [end_of(page) for page in pages] == ["PAGE_FULL"] * 3 + ["EXHAUSTED"]
    assert [n for page in pages for n in numbers(page.items, "at")] == _EVERY
    for page in pages:
        assert page.stats.items_returned == len(page.items)
        assert page.stats.index_used == ""
        assert abs(page.read_time.ToSeconds() - time.time()) < 60


async def test_descending_is_the_reverse(service: Service) -> None:
    """The order is kept across pages."""
    pages = await every_page(service, of(ULRIKE, order="ORDER_DESCENDING"), page_size=100)
    assert [n for page in pages for n in numbers(page.items, "at")] == _EVERY[::-1]


@pytest.mark.parametrize(
    ("table", "asked", "given"),
    [
        ("events", 0, 100),
        ("events", 7, 7),
        ("events", 1_000, 250),
        ("events", 2**31 - 1, 250),
        ("scannable", 0, 3),
        ("scannable", 20, 20),
        ("scannable", 21, 20),
        ("scannable", 10_000, 20),
    ],
)
async def test_the_page_size_follows_the_catalog(
    service: Service, table: str, asked: int, given: int
) -> None:
    """0 means the table's default, and a size over its maximum is lowered to it."""
    page = await service.query(of(ULRIKE, table=table), page_size=asked)
    assert len(page.items) == given


async def test_a_page_counts_items_that_match(service: Service) -> None:
    """Evaluated items do not count: a filter does not make pages short."""
    pages = await every_page(service, of(ULRIKE, "AND contains(note, '0')"), page_size=10)
    expected = [n for n in _EVERY if "0" in str(n)]
    assert [len(page.items) for page in pages[:-1]] == [10] * (len(expected) // 10)
    assert [n for page in pages for n in numbers(page.items, "at")] == expected


async def test_an_empty_range_costs_nothing(service: Service) -> None:
    """A condition that cannot match needs no request."""
    page = await service.query(of(ULRIKE, "AND at > 5 AND at < 3"))
    assert (len(page.items), end_of(page), page.next_page_token) == (0, "EXHAUSTED", "")
    assert (page.stats.backend_calls, page.stats.read_units) == (0, 0)


async def test_the_planner_takes_an_index(service: Service) -> None:
    """The index is used if the condition fixes its partition key, and the response names it."""
    page = await service.query(query_spec("events", "system_id = 'crm' AND at < 20"))
    assert page.stats.index_used == "by_system"
    assert set(numbers(page.items, "at")) == set(range(1, 20, 2))


@pytest.mark.parametrize(
    ("index", "used", "scanned"), [("", "by_level", 36), ("by_level", "by_level", 36),
                                   ("@table", "", 250)]
)  # fmt: skip
async def test_an_index_can_be_forced(
    service: Service, index: str, used: str, scanned: int
) -> None:
    """The base table can be forced too, although it reads more; the items are the same."""
    spec = of(ULRIKE, "AND level = 3", index=index)
    page = await service.query(spec, page_size=1_000, cache=_BYPASS)
    assert page.stats.index_used == used
    assert page.stats.items_scanned == scanned
    assert sorted(numbers(page.items, "at")) == [n for n in _EVERY if n % 7 == 3]
    assert all("address" in item.attributes for item in page.items)


async def test_an_index_that_cannot_serve_is_refused(service: Service) -> None:
    """A forced index is used, or the query fails."""
    refused = await refusal(service, of(ULRIKE, index="by_system"))
    assert (refused.code, refused.reason) == (Code.FAILED_PRECONDITION, "INDEX_NOT_USABLE")
    (violation,) = refused.details["PreconditionFailure"].violations
    assert (violation.type, violation.subject) == ("INDEX_NOT_USABLE", "query.index")
    assert "does not fix system_id with =" in refused.message


async def test_a_scan_is_refused_with_the_keys_that_would_help(service: Service) -> None:
    """The catalog may allow scans; keys that the caller may not see are not named."""
    spec = query_spec("events", "contains(note, 'x')")
    refused = await refusal(service, spec)
    assert (refused.code, refused.reason) == (Code.FAILED_PRECONDITION, "SCAN_NOT_ALLOWED")
    assert "fix a partition key with = or IN: user_id, kind, system_id" in refused.message
    refused = await refusal(service, query_spec("narrow", "level = 1"))
    assert "user_id" in refused.message
    assert "system_id" not in refused.message

    pages = await every_page(service, query_spec("scannable"), page_size=20)
    assert sum(len(page.items) for page in pages) == 255


async def test_a_consistent_read_of_a_global_index_is_refused(
    service: Service, logged: Logged
) -> None:
    """It is a violation, and costs nothing."""
    spec = query_spec(
        "events", "system_id = 'crm'", index="by_system", consistency="CONSISTENCY_STRONG"
    )
    refused = await refusal(service, spec)
    assert refused.code is Code.INVALID_ARGUMENT
    record = logged.call(str(refused.trailing["x-request-id"]))
    assert (record["messages"], record["read_units"]) == (0, 0)


async def test_a_consistent_read_costs_twice_and_is_not_cached(service: Service) -> None:
    """This holds on the base table and on local indexes."""
    eventual = await service.query(of(ULRIKE), cache=_BYPASS)
    for _ in range(2):
        strong = await service.query(of(ULRIKE, consistency="CONSISTENCY_STRONG"))
        assert strong.cache.status == CACHE_STATUS_BYPASSED
        assert strong.stats.read_units == 2 * eventual.stats.read_units
    level = of(ULRIKE, "AND level = 3", consistency="CONSISTENCY_STRONG")
    assert (await service.query(level)).stats.index_used == "by_level"


async def test_a_projection_picks_paths(service: Service) -> None:
    """Nested paths keep their place in the document."""
    spec = of(VIKTOR, projection=["at", "address.lines[1]", '"address".city', "nothing"])
    item = (await service.query(spec, page_size=1)).items[0]
    assert item.attributes.keys() == {"at", "address"}
    address = item.attributes["address"].m.fields
    assert address["city"].s == "Lund"
    assert [element.s for element in address["lines"].l.values] == ["b"]


async def test_only_visible_attributes_come(service: Service) -> None:
    """If the catalog lists attributes, the others are left out as if they did not exist."""
    item = (await service.query(of(VIKTOR, table="narrow"), page_size=1)).items[0]
    assert item.attributes.keys() == {"user_id", "at", "level"}


@pytest.mark.parametrize(("maximum", "sizes"), [(7, [3, 3, 1]), (3, [3]), (6, [3, 3]), (1, [1])])
async def test_max_items_bounds_all_pages_together(
    service: Service, maximum: int, sizes: list[int]
) -> None:
    """The token has the number of items that are left, page by page."""
    pages = await every_page(service, of(ULRIKE, max_items=maximum), page_size=3)
    assert [len(page.items) for page in pages] == sizes
    assert [end_of(page) for page in pages] == ["PAGE_FULL"] * (len(sizes) - 1) + ["MAX_ITEMS"]
    assert [n for page in pages for n in numbers(page.items, "at")] == _EVERY[:maximum]


async def test_more_max_items_than_there_are_is_no_end_of_its_own(service: Service) -> None:
    """The range ends first, and the response says so."""
    page = await service.query(of(VIKTOR, max_items=6))
    assert (len(page.items), end_of(page)) == (5, "EXHAUSTED")


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(max_scanned_items=40), "SCAN_BUDGET"),
        (Budget(max_read_units=0.1), "READ_UNIT_BUDGET"),
        (Budget(max_duration=Duration(nanos=1)), "TIME_BUDGET"),
    ],
    ids=["scanned items", "read units", "time"],
)
async def test_a_budget_ends_a_page_with_progress(
    service: Service, budget: Budget, reason: str
) -> None:
    """No item is lost, and each call makes progress, although hardly anything matches."""
    spec = of(ULRIKE, "AND contains(note, '77')")
    pages = await every_page(service, spec, page_size=5, budget=budget)
    assert [n for page in pages for n in numbers(page.items, "at")] == [77, 177]
    ends = [end_of(page) for page in pages]
    assert reason in ends
    assert set(ends) <= {reason, "EXHAUSTED"}
    tokens = [page.next_page_token for page in pages]
    assert len(set(tokens)) == len(tokens)
    if budget.max_scanned_items:
        assert all(page.stats.items_scanned <= 40 for page in pages)


async def test_stats_are_this_calls_own(service: Service) -> None:
    """They have one request to DynamoDB, the number of requested items, and the time."""
    page = await service.query(of(ULRIKE), page_size=10, cache=_BYPASS)
    stats = page.stats
    assert (stats.items_scanned, stats.backend_calls, stats.throttle_retries) == (10, 1, 0)
    assert stats.read_units > 0
    assert 0 < stats.backend_time.ToNanoseconds() < 30e9
