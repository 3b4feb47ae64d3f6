"""Tests with broken and malicious servers: every call ends, with a typed error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.catalog_service_pb2 import (
    ListTablesRequest,
    ListTablesResponse,
    TableSummary,
)
from dynamodb_processor.v1.query_service_pb2 import (
    CountItemsRequest,
    CountItemsResponse,
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor_client import (
    Internal,
    Query,
    QueryClient,
    QueryError,
    ResumePolicy,
    Unavailable,
)
from tests.support.fake_server import running
from tests.support.fake_service import BROKEN, Context, Failure, FakeService, numbered
from tests.support.threaded_client import ClientFactory
from tests.unit.client.fake_time import FakeTime


class BrokenService(FakeService):
    """A service that answers as a test defines; `calls` counts."""

    def __init__(self, answer: Callable[[int, Any], Any], *, breaks: bool = False) -> None:
        """Answer the n-th call, or message, with `answer(n, request)`; streams may break then."""
        super().__init__(items=numbered(3))
        self._answer = answer
        self._breaks = breaks
        self.calls = 0

    async def Query(self, request: QueryRequest, context: Context) -> QueryResponse:  # noqa: N802
        """Answer with the test's response."""
        self.calls += 1
        answer: QueryResponse = self._answer(self.calls, request)
        return answer

    async def StreamQuery(  # noqa: N802
        self, request: StreamQueryRequest, context: Context
    ) -> AsyncIterator[StreamQueryResponse]:
        """Send the test's messages, and break after each if the test says so."""
        while True:
            self.calls += 1
            message: StreamQueryResponse = self._answer(self.calls, request)
            yield message
            if self._breaks:
                await BROKEN.fail(context)
            if message.last:
                return

    async def CountItems(  # noqa: N802
        self, request: CountItemsRequest, context: Context
    ) -> CountItemsResponse:
        """Answer with the test's response."""
        self.calls += 1
        answer: CountItemsResponse = self._answer(self.calls, request)
        return answer

    async def ListTables(  # noqa: N802
        self, request: ListTablesRequest, context: Context
    ) -> ListTablesResponse:
        """Answer with the test's response."""
        self.calls += 1
        answer: ListTablesResponse = self._answer(self.calls, request)
        return answer


def client_of(make_client: ClientFactory, service: FakeService, time: FakeTime) -> QueryClient:
    """Return a client without deadlines, whose pauses take no time."""
    policy = ResumePolicy(sleep=time.sleep, uniform=lambda: 0.5, clock=time.read)
    options = [("grpc.enable_retries", 0)]
    return make_client(service.address, timeout=None, resume=policy, options=options)


async def read_all(
    make_client: ClientFactory, service: BrokenService, time: FakeTime
) -> QueryError:
    """Read a stream up to its error, which must come."""
    async with running(service), client_of(make_client, service, time) as client:
        with pytest.raises(QueryError) as raised:
            await exhaust(client.stream(Query("numbers")), [])
    return raised.value


async def exhaust(items: AsyncIterator[Any], found: list[Any]) -> None:
    """Read all items, of which no test has many."""
    async for item in items:
        found.append(item)
        assert len(found) < 1_000


@pytest.mark.parametrize("token", ["same", "new"])
async def test_empty_messages_and_breaks_end(
    make_client: ClientFactory, token: str, time: FakeTime
) -> None:
    """A message and a break, again and again, is not progress, even with new tokens."""
    service = BrokenService(
        lambda n, _: StreamQueryResponse(resume_token="t" if token == "same" else f"t{n}"),
        breaks=True,
    )
    error = await read_all(make_client, service, time)
    assert isinstance(error, Unavailable)
    assert error.resume_token == ("t" if token == "same" else f"t{service.calls}")
    assert service.calls == 6  # the first, and five attempts


@pytest.mark.parametrize("token", ["same", "new"])
async def test_calls_that_end_at_once_end(
    make_client: ClientFactory, token: str, time: FakeTime
) -> None:
    """A service that claims to be out of time before it read anything is not called for ever."""
    service = BrokenService(
        lambda n, _: StreamQueryResponse(
            resume_token="t" if token == "same" else f"t{n}",
            end=query_pb2.PAGE_END_TIME_BUDGET,
            last=True,
        )
    )
    error = await read_all(make_client, service, time)
    assert isinstance(error, Internal)
    assert error.reason == "NO_PROGRESS"
    assert service.calls <= 7


async def test_an_endless_stream_of_empty_messages_ends(
    make_client: ClientFactory, time: FakeTime
) -> None:
    """Immediate messages without items and with the same token are not a search."""
    service = BrokenService(lambda n, _: StreamQueryResponse(resume_token="t"))
    error = await read_all(make_client, service, time)
    assert error.message.startswith("the service makes no progress")


@pytest.mark.parametrize("breaks", [True, False])
async def test_items_without_a_new_token_are_an_error(
    make_client: ClientFactory, time: FakeTime, breaks: bool
) -> None:
    """Items with the token of their own request would be delivered twice."""
    service = BrokenService(
        lambda n, _: StreamQueryResponse(items=numbered(1), resume_token="t"), breaks=breaks
    )
    found: list[Any] = []
    async with running(service), client_of(make_client, service, time) as client:
        stream = client.stream(Query("numbers"))
        with pytest.raises(Internal, match="no progress"):
            await exhaust(stream, found)
    assert len(found) == 1
    assert stream.resume_token == "t"


async def test_a_search_that_reads_continues(make_client: ClientFactory, time: FakeTime) -> None:
    """Messages without items but with reads are progress, also across breaks."""

    def search(n: int, _: StreamQueryRequest) -> StreamQueryResponse:
        message = StreamQueryResponse(resume_token="" if n == 50 else f"t{n}", last=n == 50)
        message.stats.items_scanned = 100
        return message

    service = BrokenService(search, breaks=True)
    async with running(service), client_of(make_client, service, time) as client:
        assert [page.items async for page in client.pages(Query("numbers"))] == [()] * 50


async def test_a_stream_whose_status_never_comes_ends(
    make_client: ClientFactory, time: FakeTime
) -> None:
    """After its last message a stream is over, even if the server keeps it open."""
    service = BrokenService(lambda n, _: StreamQueryResponse(last=n == 1, items=numbered(1)))

    async def answer(
        request: StreamQueryRequest, context: Context
    ) -> AsyncIterator[StreamQueryResponse]:
        yield StreamQueryResponse(last=True, items=numbered(1))
        await asyncio.Event().wait()

    service.StreamQuery = answer  # type: ignore[method-assign]
    async with running(service), client_of(make_client, service, time) as client:
        assert len([item async for item in client.stream(Query("numbers"))]) == 1


async def test_an_excessive_pause_is_refused(
    make_client: ClientFactory, service: FakeService
) -> None:
    """If the service requests a pause of years, the caller gets the error and its token."""
    retry = RetryInfo()
    retry.retry_delay.FromSeconds(10**9)
    failure = Failure(grpc.StatusCode.UNAVAILABLE, "later", (retry,))
    broken = BrokenService(lambda n, _: StreamQueryResponse(resume_token="t", items=numbered(1)))

    async def answer(
        request: StreamQueryRequest, context: Context
    ) -> AsyncIterator[StreamQueryResponse]:
        yield StreamQueryResponse(resume_token="t", items=numbered(1))
        await failure.fail(context)

    broken.StreamQuery = answer  # type: ignore[method-assign]
    async with running(broken), client_of(make_client, broken, FakeTime()) as client:
        with pytest.raises(Unavailable, match="later") as raised:
            await exhaust(client.pages(Query("numbers")), [])
    assert raised.value.retry_after == 1e9
    assert raised.value.resume_token == "t"


@pytest.mark.parametrize("token", ["same", "new"])
async def test_counts_without_progress_end(
    make_client: ClientFactory, token: str, time: FakeTime
) -> None:
    """A count that always continues and does not grow is an error."""

    def count(n: int, _: CountItemsRequest) -> CountItemsResponse:
        response = CountItemsResponse(end=query_pb2.PAGE_END_TIME_BUDGET)
        response.next_page_token = "t" if token == "same" else f"t{n}"
        return response

    service = BrokenService(count)
    async with running(service), client_of(make_client, service, time) as client:
        with pytest.raises(Internal, match="no progress"):
            await client.count(Query("numbers"))
    assert service.calls <= 7


@pytest.mark.parametrize("kind", ["same token", "two tokens", "same table", "nothing"])
async def test_listings_without_progress_end(
    make_client: ClientFactory, kind: str, time: FakeTime
) -> None:
    """Repeated or empty pages of tables are an error."""

    def listing(n: int, _: ListTablesRequest) -> ListTablesResponse:
        token = {"same token": "t", "two tokens": f"t{n % 2}"}.get(kind, f"t{n}")
        name = {"same table": "a"}.get(kind, f"a{n}")
        tables = [] if kind == "nothing" else [TableSummary(name=name)]
        return ListTablesResponse(tables=tables, next_page_token=token)

    service = BrokenService(listing)
    async with running(service), client_of(make_client, service, time) as client:
        with pytest.raises(Internal, match="no progress"):
            await client.tables()
    assert service.calls <= 8


def _always(answer: QueryResponse, n: int, request: QueryRequest) -> QueryResponse:
    return answer


async def test_invalid_times_are_typed_errors(make_client: ClientFactory, time: FakeTime) -> None:
    """A time or duration that Python cannot represent is an error of the service."""
    late, long, aged = QueryResponse(), QueryResponse(), QueryResponse()
    late.read_time.seconds = 10**15
    long.stats.backend_time.seconds = 2**62
    aged.cache.age.seconds = -(2**62)
    for response in (late, long, aged):
        service = BrokenService(partial(_always, response))
        async with running(service), client_of(make_client, service, time) as client:
            with pytest.raises(Internal, match="bad") as raised:
                await client.query(Query("numbers"))
            assert raised.value.reason == "BAD_ANSWER"


async def test_malformed_messages_are_typed_errors(
    make_client: ClientFactory, time: FakeTime
) -> None:
    """A response that cannot be parsed is a typed error, in unary calls and in streams."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])

    async def unary(request: bytes, context: Context) -> bytes:
        return b"\xff\xff\xff"

    async def stream(request: bytes, context: Context) -> AsyncIterator[bytes]:
        yield b"\xff\xff\xff"

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Query": grpc.unary_unary_rpc_method_handler(unary),
        "StreamQuery": grpc.unary_stream_rpc_method_handler(stream),
    }
    name = "dynamodb_processor.v1.QueryService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
    service = FakeService(items=[])
    service.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with client_of(make_client, service, time) as client:
            with pytest.raises(Internal) as raised:
                await client.query(Query("numbers"))
            assert raised.value.reason == "BAD_ANSWER"
            with pytest.raises(QueryError):
                _ = [page async for page in client.pages(Query("numbers"))]
    finally:
        await server.stop(grace=None)


@pytest.mark.parametrize("pushback", ["9" * 5_000, "-1", "soon"])
async def test_an_invalid_pushback_forbids_retries(
    client: QueryClient, service: FakeService, pushback: str
) -> None:
    """A pushback in trailing metadata that is not a number of milliseconds forbids a retry."""
    service.failures.append(
        Failure(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", pushback),))
    )
    with pytest.raises(Unavailable) as raised:
        await client.query(Query("numbers"))
    assert not raised.value.may_retry
    assert raised.value.retry_after is None
