"""Tests that requests reach the service, and responses come back typed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import grpc
import pytest
from boto3.dynamodb.conditions import Attr, Key
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    RequestInfo,
    RetryInfo,
)

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse, StreamQueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue
from dynamodb_processor_client import (
    Budget,
    CacheInfo,
    CacheMode,
    CachePolicy,
    CacheStatus,
    DeadlineExceeded,
    FailedPrecondition,
    IndexKind,
    Internal,
    InvalidArgument,
    KeyType,
    NotFound,
    Page,
    PageEnd,
    PageStats,
    PermissionDenied,
    Query,
    QueryClient,
    QueryError,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
    Violation,
)
from tests.support.fake_service import Failure, FakeService


async def test_a_page(client: QueryClient) -> None:
    """A page has Python values for every field of the message."""
    page = await client.query(Query("numbers"), page_size=2)
    assert page == Page(
        items=({"n": Decimal(0)}, {"n": Decimal(1)}),
        next_page_token="2:998",
        end=PageEnd.PAGE_FULL,
        stats=PageStats(
            items_returned=2,
            items_scanned=2,
            read_units=1.0,
            backend_calls=1,
            backend_time=timedelta(milliseconds=5),
        ),
        cache=CacheInfo(CacheStatus.MISS, timedelta(), None),
        read_time=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
    )


async def test_paging_with_tokens(client: QueryClient) -> None:
    """The token of a page leads to the next page, and a stream continues from it."""
    first = await client.query(Query("numbers"), page_size=400)
    second = await client.query(Query("numbers"), page_size=400, page_token=first.next_page_token)
    rest = client.stream(Query("numbers"), resume_token=second.next_page_token)
    assert [item["n"] async for item in rest] == [*range(800, 1_000)]


async def test_every_option_is_sent(client: QueryClient, service: FakeService) -> None:
    """The options of a query and of a call arrive in their fields, with every method."""
    query = Query(
        "numbers",
        "user_id = :u AND n = :index",
        parameters={"index": 5},
        index="by_user",
        descending=True,
        projection=["n", "a.b[0]"],
        consistent=True,
        max_items=7,
        u="u-1",
    )
    options: dict[str, Any] = {
        "page_size": 3,
        "budget": Budget(10, 2.5, timedelta(seconds=1.5)),
        "cache": CachePolicy(CacheMode.REFRESH, timedelta(seconds=30)),
    }
    await client.query(query, **options)
    await anext(client.pages(query, **options))
    await anext(client.stream(query, **options))
    expected = query_pb2.QuerySpec(
        table="numbers",
        expression="user_id = :u AND n = :index",
        parameters={"u": AttributeValue(s="u-1"), "index": AttributeValue(n="5")},
        index="by_user",
        order=query_pb2.ORDER_DESCENDING,
        projection=["n", "a.b[0]"],
        consistency=query_pb2.CONSISTENCY_STRONG,
        max_items=7,
    )
    budget = query_pb2.Budget(
        max_scanned_items=10,
        max_read_units=2.5,
        max_duration=Duration(seconds=1, nanos=500_000_000),
    )
    cache = query_pb2.CachePolicy(
        mode=query_pb2.CACHE_MODE_REFRESH, max_staleness=Duration(seconds=30)
    )
    requests: list[QueryRequest | StreamQueryRequest] = [
        *service.requests,
        *service.stream_requests,
    ]
    assert len(requests) == 3
    for request in requests:
        assert request.query == expected
        assert request.page_size == 3
        assert request.budget == budget
        assert request.cache == cache


def test_a_cache_mode_is_one_of_the_enumeration() -> None:
    """Another value is refused when the policy is made, not when the request is."""
    with pytest.raises(TypeError, match="mode is a CacheMode, not 'bypass'"):
        CachePolicy(mode="bypass")  # type: ignore[arg-type]


async def test_options_left_out_are_not_sent(client: QueryClient, service: FakeService) -> None:
    """A bare query is a bare message, so the service's defaults apply."""
    await client.query(Query("numbers"))
    await anext(client.pages(Query("numbers")))
    spec = query_pb2.QuerySpec(table="numbers")
    for request in (service.requests[0], service.stream_requests[0]):
        assert request.query == spec
        assert request.ByteSize() == spec.ByteSize() + 2


async def test_conditions_of_boto3(client: QueryClient, service: FakeService) -> None:
    """A condition replaces the text, and has its own parameters."""
    await client.query(Query("numbers", Key("user_id").eq("u-1") & Attr("n").gt(3)))
    assert service.requests[0].query == query_pb2.QuerySpec(
        table="numbers",
        expression="user_id = :v0 AND n > :v1",
        parameters={"v0": AttributeValue(s="u-1"), "v1": AttributeValue(n="3")},
    )


async def test_the_key_is_sent_with_every_call(client: QueryClient, service: FakeService) -> None:
    """Each call of each kind has the API key."""
    await client.query(Query("numbers"))
    await anext(client.stream(Query("numbers")))
    await client.tables()
    await client.table("numbers")
    assert [metadata.get("x-api-key") for metadata in service.metadata] == ["ddbp_test"] * 4


def test_invalid_api_keys_are_refused() -> None:
    """A key with a line break, as read from a file, is refused before gRPC fails on it."""
    with pytest.raises(ValueError, match="API key"):
        QueryClient("localhost:1", api_key="ddbp_test\n")


async def test_a_client_has_to_be_open(service: FakeService) -> None:
    """Outside `async with` there is no channel, and the error says so."""
    client = QueryClient(service.address)
    with pytest.raises(RuntimeError, match="async with"):
        await client.query(Query("numbers"))
    async with client:
        await client.query(Query("numbers"))
    with pytest.raises(RuntimeError, match="async with"):
        client.stream(Query("numbers"))


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, FailedPrecondition),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhausted),
        (grpc.StatusCode.UNAVAILABLE, Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded),
        (grpc.StatusCode.INTERNAL, Internal),
        (grpc.StatusCode.UNIMPLEMENTED, QueryError),
    ],
)
async def test_each_status_has_its_error(
    client: QueryClient, service: FakeService, code: grpc.StatusCode, expected: type[QueryError]
) -> None:
    """Every status has its class, with the service's message, also without details."""
    service.failures.append(Failure(code, "no luck"))
    with pytest.raises(QueryError) as raised:
        await client.query(Query("numbers"))
    error = raised.value
    assert type(error) is expected
    assert (error.code, error.message, error.reason) == (code, "no luck", "")
    assert (error.request_id, error.violations, error.retry_after) == (None, (), None)
    assert str(error) == f"{code.name}: no luck"


@pytest.mark.parametrize(
    ("detail", "violation"),
    [
        (
            BadRequest(field_violations=[{"field": "query.table", "description": "is empty"}]),
            Violation("query.table", "is empty"),
        ),
        (
            PreconditionFailure(
                violations=[{"type": "SCAN", "subject": "numbers", "description": "needs a scan"}]
            ),
            Violation("numbers", "needs a scan"),
        ),
        (
            QuotaFailure(violations=[{"subject": "reports", "description": "100 calls/s"}]),
            Violation("reports", "100 calls/s"),
        ),
    ],
)
async def test_details_are_read(
    client: QueryClient, service: FakeService, detail: Any, violation: Violation
) -> None:
    """Reason, request ID, violations and retry delay come from the details of `google.rpc`."""
    details = (
        ErrorInfo(reason="INVALID_REQUEST", domain="dynamodb-processor"),
        RequestInfo(request_id="r-1"),
        RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
        detail,
    )
    service.failures.append(Failure(grpc.StatusCode.INVALID_ARGUMENT, "no", details))
    with pytest.raises(InvalidArgument) as raised:
        await client.query(Query("numbers"))
    error = raised.value
    assert (error.reason, error.request_id, error.retry_after) == ("INVALID_REQUEST", "r-1", 1.5)
    assert error.violations == (violation,)


async def test_metadata_replaces_missing_details(client: QueryClient, service: FakeService) -> None:
    """Request ID and pushback are also read from metadata, and invalid details are ignored."""
    trailers: tuple[tuple[str, str | bytes], ...] = (
        ("x-request-id", "r-2"),
        ("grpc-retry-pushback-ms", "2500"),
        ("grpc-status-details-bin", b"\xff\xff"),
    )
    service.failures.append(Failure(grpc.StatusCode.UNAVAILABLE, trailers=trailers))
    with pytest.raises(Unavailable) as raised:
        await client.query(Query("numbers"))
    error = raised.value
    assert (error.request_id, error.retry_after, error.may_retry) == ("r-2", 2.5, True)


async def test_an_unreachable_service(service: FakeService) -> None:
    """A target without a listener is an error at once, not at the deadline."""
    async with QueryClient("127.0.0.1:1") as client:
        with pytest.raises(Unavailable):
            await client.query(Query("numbers"))


def test_values_of_later_services_are_unknown_not_fatal() -> None:
    """A newer service may have other page ends, cache statuses and types."""
    message = QueryResponse()
    message.end = 99  # type: ignore[assignment]
    message.cache.status = 99  # type: ignore[assignment]
    page = Page.from_message(message)
    assert page.end is PageEnd.UNKNOWN
    assert page.cache.status is CacheStatus.UNKNOWN
    assert page.read_time is None
    assert KeyType(99) is KeyType.UNKNOWN
    assert IndexKind(99) is IndexKind.UNKNOWN
