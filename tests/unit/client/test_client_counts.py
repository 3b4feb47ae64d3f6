"""Tests of `count`: one number, from any number of calls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import grpc
import pytest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_client import (
    Budget,
    CacheMode,
    CachePolicy,
    CacheStatus,
    DeadlineExceeded,
    InvalidArgument,
    PageEnd,
    Query,
    QueryClient,
)
from tests.support.fake_service import Failure, FakeService


async def test_a_count(client: QueryClient) -> None:
    """A count is exact, and has the cost of its call."""
    count = await client.count(Query("numbers"))
    assert (count.value, count.exact, count.next_page_token) == (1_000, True, "")
    assert count.end is PageEnd.EXHAUSTED
    assert count.stats.items_scanned == 1_000
    assert count.cache.status is CacheStatus.MISS
    assert count.read_time == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)


async def test_a_count_up_to_a_number(client: QueryClient, service: FakeService) -> None:
    """A count stops at the number; with fewer items it is exact."""
    count = await client.count(Query("numbers"), up_to=300)
    assert (count.value, count.exact, count.end) == (300, False, PageEnd.PAGE_FULL)
    count = await client.count(Query("numbers"), up_to=3_000)
    assert (count.value, count.exact) == (1_000, True)
    modes = {request.total.mode for request in service.count_requests}
    assert modes == {query_pb2.TOTAL_MODE_BOUNDED}


async def test_a_count_continues_after_the_services_time_limit(
    client: QueryClient, service: FakeService
) -> None:
    """The client calls again until the count is complete."""
    service.counted_at_once = 300
    count = await client.count(Query("numbers"))
    assert (count.value, count.exact, count.stats.backend_calls) == (1_000, True, 4)
    assert count.stats.items_scanned == 1_000
    tokens = [request.page_token for request in service.count_requests]
    assert tokens == ["", "300", "600", "900"]


async def test_a_budget_ends_a_count_with_a_token(
    client: QueryClient, service: FakeService
) -> None:
    """The cost of earlier calls is subtracted from the budget; the token continues the count."""
    service.counted_at_once = 300
    budget = Budget(max_scanned_items=500)
    count = await client.count(Query("numbers"), budget=budget)
    assert (count.value, count.exact, count.next_page_token) == (600, False, "600")
    assert [request.budget.max_scanned_items for request in service.count_requests] == [500, 200]
    rest = await client.count(Query("numbers"), page_token=count.next_page_token)
    assert (rest.value, rest.exact, rest.stats.items_scanned) == (1_000, True, 400)


async def test_a_budget_of_time_ends_a_count(client: QueryClient, service: FakeService) -> None:
    """The caller's own time limit ends the count after one call."""
    service.counted_at_once = 300
    count = await client.count(Query("numbers"), budget=Budget(max_duration=timedelta(seconds=5)))
    assert (count.value, count.exact, count.end) == (300, False, PageEnd.TIME_BUDGET)
    assert len(service.count_requests) == 1


async def test_every_option_of_a_count_is_sent(client: QueryClient, service: FakeService) -> None:
    """Every option arrives in its field; options left out are not sent."""
    await client.count(
        Query(
            "numbers",
            "n = :n AND m = :index",
            parameters={"index": 5},
            index="by_user",
            consistent=True,
            n=1,
        ),
        up_to=7,
        budget=Budget(10),
        cache=CachePolicy(CacheMode.REFRESH),
    )
    await client.count(Query("numbers"))
    full, bare = service.count_requests
    assert full == CountItemsRequest(
        query=query_pb2.QuerySpec(
            table="numbers",
            expression="n = :n AND m = :index",
            parameters={"n": AttributeValue(n="1"), "index": AttributeValue(n="5")},
            index="by_user",
            consistency=query_pb2.CONSISTENCY_STRONG,
        ),
        total=query_pb2.TotalOptions(mode=query_pb2.TOTAL_MODE_BOUNDED, up_to=7),
        budget=query_pb2.Budget(max_scanned_items=10),
        cache=query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_REFRESH),
    )
    assert bare == CountItemsRequest(query=query_pb2.QuerySpec(table="numbers"))


async def test_the_deadline_is_one_for_all_calls(client: QueryClient, service: FakeService) -> None:
    """Each call gets the remaining time; `None` means no deadline."""
    service.counted_at_once = 500
    await client.count(Query("numbers"), timeout=20.0)
    await client.count(Query("numbers"), timeout=None)
    # gRPC rounds deadlines.
    assert service.deadlines == [pytest.approx(20.0, abs=1.0)] * 2 + [None] * 2


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
    ],
)
async def test_a_failed_count_has_a_resume_token(
    client: QueryClient,
    service: FakeService,
    code: grpc.StatusCode,
    expected: type[DeadlineExceeded | InvalidArgument],
) -> None:
    """The token of the error continues the count, so nothing is counted again."""
    service.failures.append(Failure(code))
    with pytest.raises(expected) as raised:
        await client.count(Query("numbers"), page_token="300")
    assert raised.value.resume_token == "300"


async def test_a_passed_deadline_prevents_the_call(
    client: QueryClient, service: FakeService
) -> None:
    """Without any time left the error is immediate, and nothing is sent."""
    with pytest.raises(DeadlineExceeded):
        await client.count(Query("numbers"), timeout=0.0)
    assert not service.count_requests
