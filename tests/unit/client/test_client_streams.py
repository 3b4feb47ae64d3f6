"""Tests that streams resume after a break."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo

from dynamodb_processor_client import (
    Budget,
    DeadlineExceeded,
    Internal,
    InvalidArgument,
    Item,
    ItemStream,
    PageEnd,
    Query,
    QueryClient,
    ResumePolicy,
    Unavailable,
)
from tests.support.fake_service import BROKEN, Cut, Failure, FakeService
from tests.support.threaded_client import ClientFactory
from tests.unit.client.fake_time import FakeTime


async def _numbers(stream: AsyncIterator[Item]) -> list[int]:
    return [int(item["n"]) async for item in stream]


async def _extend(received: list[int], stream: AsyncIterator[Item]) -> None:
    async for item in stream:
        received += [int(item["n"])]


async def test_a_whole_stream(client: QueryClient, service: FakeService) -> None:
    """Every item comes once and in order, in pages of the requested size."""
    stream = client.stream(Query("numbers"), page_size=300)
    assert await _numbers(stream) == list(range(1_000))
    assert stream.resume_token == ""
    assert stream.stats.items_returned == 1_000
    assert stream.stats.backend_calls == 4
    assert len(service.stream_requests) == 1


@pytest.mark.parametrize("failure", [BROKEN, None], ids=["unavailable", "silent"])
async def test_cut_at_every_boundary(
    client: QueryClient, service: FakeService, failure: Failure | None
) -> None:
    """After a cut at any message no item is lost or repeated, and the sums are right."""
    for boundary in range(1, 10):
        service.cuts.append(Cut(after=boundary, failure=failure))
        stream = client.stream(Query("numbers"), page_size=100)
        assert await _numbers(stream) == list(range(1_000))
        assert stream.stats.items_returned == 1_000
        assert stream.stats.read_units == 500
        assert stream.stats.backend_time == timedelta(milliseconds=50)
        assert service.stream_requests[-1].resume_token.startswith(f"{boundary * 100}:")


async def test_cut_after_every_message(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """A stream that breaks after each message still ends, as each message is progress."""
    service.cuts.extend([Cut(after=1)] * 9)
    assert await _numbers(client.stream(Query("numbers"))) == list(range(1_000))
    assert time.pauses == [0.1] * 9


async def test_a_break_after_the_last_item(client: QueryClient, service: FakeService) -> None:
    """An empty token means that all was delivered, so the stream is not resumed."""
    service.forgets_last = True
    stream = client.pages(Query("numbers"), page_size=600)
    assert [len(page.items) async for page in stream] == [600, 400]
    assert len(service.stream_requests) == 1


async def test_max_items_hold_over_resumptions(client: QueryClient, service: FakeService) -> None:
    """The token carries the limit on items, so a resumed stream keeps to it."""
    service.cuts.append(Cut(after=2))
    stream = client.stream(Query("numbers", max_items=250), page_size=100)
    assert await _numbers(stream) == list(range(250))


async def test_attempts_without_progress_are_bounded(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """After the last attempt the error is raised, with a token to continue later."""
    service.cuts.extend([Cut(after=2), *[Cut(after=0)] * 5])
    stream = client.stream(Query("numbers"), page_size=100)
    received: list[int] = []
    with pytest.raises(Unavailable) as raised:
        await _extend(received, stream)
    assert received == list(range(200))
    assert time.pauses == [0.1, 0.2, 0.4, 0.8, 1.6]
    rest = client.stream(Query("numbers"), resume_token=raised.value.resume_token)
    assert await _numbers(rest) == list(range(200, 1_000))


async def test_a_stream_that_never_began_is_not_resumed(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """Before the first message only the channel retries."""
    service.cuts.append(Cut(after=0))
    with pytest.raises(Unavailable):
        await anext(client.stream(Query("numbers")))
    assert time.pauses == []


async def test_the_channel_retries_before_the_first_message(
    make_client: ClientFactory, service: FakeService
) -> None:
    """The channel itself retries a call that the first replica refused."""
    service.cuts.append(Cut(after=0))
    async with make_client(service.address) as client:
        assert await _numbers(client.stream(Query("numbers"))) == list(range(1_000))
    assert len(service.stream_requests) == 2


async def test_calls_cancelled_by_a_stopping_server_continue(
    make_client: ClientFactory, service: FakeService
) -> None:
    """A call that the server cancelled (grpc#41785) is retried, and a stream resumed."""
    cancelled = Failure(grpc.StatusCode.CANCELLED)
    service.cuts += [Cut(after=0, failure=cancelled), Cut(after=2, failure=cancelled)]
    service.failures.append(cancelled)
    async with make_client(service.address) as client:
        assert await _numbers(client.stream(Query("numbers"))) == list(range(1_000))
        assert len((await client.query(Query("numbers"))).items) == 100
    assert len(service.stream_requests) == 3


async def test_resuming_can_be_turned_off(make_client: ClientFactory, service: FakeService) -> None:
    """With 0 attempts a broken stream is an error at once."""
    service.cuts.append(Cut(after=1, failure=None))
    async with make_client(service.address, resume=ResumePolicy(attempts=0)) as client:
        with pytest.raises(Unavailable, match="before its last message") as raised:
            await _numbers(client.stream(Query("numbers")))
    assert raised.value.reason == "STREAM_INCOMPLETE"


async def test_other_errors_are_not_resumed(client: QueryClient, service: FakeService) -> None:
    """A stream is not resumed after an error that a new attempt cannot cure."""
    service.cuts.append(Cut(after=1, failure=Failure(grpc.StatusCode.INVALID_ARGUMENT)))
    with pytest.raises(InvalidArgument):
        await _numbers(client.stream(Query("numbers")))
    assert len(service.stream_requests) == 1


async def test_an_error_ends_the_iteration(client: QueryClient, service: FakeService) -> None:
    """After an error the iteration ends, without another call."""
    service.cuts.append(Cut(after=0))
    pages = client.pages(Query("numbers"))
    with pytest.raises(Unavailable):
        await anext(pages)
    with pytest.raises(StopAsyncIteration):
        await anext(pages)
    assert len(service.stream_requests) == 1


async def test_the_pause_that_the_service_requests(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """A resumption waits at least as long as `RetryInfo` says."""
    retry = RetryInfo(retry_delay=Duration(seconds=3))
    failure = Failure(grpc.StatusCode.UNAVAILABLE, details=(retry,))
    service.cuts.append(Cut(after=1, failure=failure))
    assert len(await _numbers(client.stream(Query("numbers")))) == 1_000
    assert time.pauses == [3.1]


async def test_pushback_is_obeyed(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """A negative pushback, which an overloaded service sends, forbids a resumption."""
    failure = Failure(grpc.StatusCode.UNAVAILABLE, trailers=(("grpc-retry-pushback-ms", "-1"),))
    service.cuts.append(Cut(after=1, failure=failure))
    with pytest.raises(Unavailable) as raised:
        await _numbers(client.stream(Query("numbers")))
    assert not raised.value.may_retry
    assert time.pauses == []


async def test_the_deadline_spans_resumptions(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """A resumed call gets the remaining time, and no pause exceeds the deadline."""
    retry = RetryInfo(retry_delay=Duration(seconds=8))
    failure = Failure(grpc.StatusCode.UNAVAILABLE, details=(retry,))
    service.cuts.extend([Cut(after=1, failure=failure)] * 5)
    with pytest.raises(Unavailable):
        await _numbers(client.stream(Query("numbers"), timeout=20.0))
    first, second, third = (seconds or 0.0 for seconds in service.deadlines)
    assert first == pytest.approx(20.0, abs=1.0)
    assert second == pytest.approx(20.0 - 8.1, abs=1.0)
    assert third == pytest.approx(20.0 - 16.2, abs=1.0)
    assert time.pauses == [8.1, 8.1]


async def test_a_passed_deadline_has_a_token(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """If the deadline passes between two calls, the error has a token to continue."""
    service.time_limit = 1
    pages = client.pages(Query("numbers"), page_size=100, timeout=10.0)
    page = await anext(pages)
    time.now += 11.0
    with pytest.raises(DeadlineExceeded) as raised:
        await anext(pages)
    assert raised.value.resume_token == page.next_page_token != ""


async def test_no_deadline(client: QueryClient, service: FakeService) -> None:
    """`timeout=None` sends no deadline, a number sends itself, and the default is the client's."""
    for timeout in (None, 5.0):
        await anext(client.stream(Query("numbers"), timeout=timeout))
    await anext(client.stream(Query("numbers")))
    without, given, default = service.deadlines
    assert without is None or without > 1e6
    assert given == pytest.approx(5.0, abs=1.0)
    assert default == pytest.approx(60.0, abs=1.0)


async def test_a_stream_continues_after_the_servers_time_limit(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """A call that the server's time limit ended is followed by another, without a pause."""
    service.time_limit = 3
    assert await _numbers(client.stream(Query("numbers"), page_size=100)) == list(range(1_000))
    assert len(service.stream_requests) == 4
    assert time.pauses == []


async def test_a_budget_ends_a_stream(client: QueryClient) -> None:
    """The caller's budget ends a stream without an error, with the reason and a token."""
    stream = client.pages(Query("numbers"), page_size=100, budget=Budget(max_scanned_items=300))
    pages = [page async for page in stream]
    assert [page.end for page in pages] == [
        PageEnd.PAGE_FULL,
        PageEnd.PAGE_FULL,
        PageEnd.SCAN_BUDGET,
    ]
    assert stream.resume_token == pages[-1].next_page_token != ""


async def test_a_budget_spans_resumptions(client: QueryClient, service: FakeService) -> None:
    """The cost of earlier calls is subtracted from the budget of a resumed one."""
    service.cuts.append(Cut(after=2))
    budget = Budget(max_scanned_items=500, max_read_units=400, max_duration=timedelta(seconds=30))
    assert len(await _numbers(client.stream(Query("numbers"), page_size=100, budget=budget))) == 500
    first, second = (request.budget for request in service.stream_requests)
    assert (first.max_scanned_items, first.max_read_units) == (500, 400)
    assert first.max_duration.ToTimedelta() == timedelta(seconds=30)
    assert (second.max_scanned_items, second.max_read_units) == (300, 300)
    assert second.max_duration.ToTimedelta() == timedelta(seconds=29.9)


async def test_a_spent_budget_needs_no_call(client: QueryClient, service: FakeService) -> None:
    """A stream that broke when its budget was just spent has ended normally."""
    service.cuts.append(Cut(after=2))
    stream = client.stream(Query("numbers"), page_size=100, budget=Budget(max_read_units=100))
    assert await _numbers(stream) == list(range(200))
    assert stream.resume_token != ""
    assert len(service.stream_requests) == 1


@pytest.mark.parametrize("make_client", ["async"], indirect=True)  # threads are not cancelled
async def test_a_cancelled_wait_loses_nothing(client: QueryClient, service: FakeService) -> None:
    """After a wait that timed out, iteration continues with the next item."""
    service.hang_after = 2
    stream = client.stream(Query("numbers"), page_size=100)
    received = [int((await anext(stream))["n"]) for _ in range(200)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.05)
    service.hang_after = None
    received += await _numbers(stream)
    assert received == list(range(1_000))


async def test_a_page_that_cannot_be_read_is_not_skipped(
    client: QueryClient, service: FakeService
) -> None:
    """A value of an unknown type ends the stream before its page, and the token stays there."""
    service.items[150].attributes["new"].SetInParent()
    pages = client.pages(Query("numbers"), page_size=100)
    await anext(pages)
    with pytest.raises(Internal, match="update the client") as raised:
        await anext(pages)
    assert raised.value.resume_token.startswith("100:")
    with pytest.raises(StopAsyncIteration):
        await anext(pages)


async def test_the_token_of_a_half_read_page(client: QueryClient) -> None:
    """In the middle of a page the token is that of the page; after it, that of the next."""
    stream = client.stream(Query("numbers"), page_size=100)
    await anext(stream)
    assert stream.resume_token == ""
    for _ in range(99):
        await anext(stream)
    assert stream.resume_token.startswith("100:")
    await anext(stream)
    assert stream.resume_token.startswith("100:")
    await stream.aclose()


async def test_closing_a_stream_ends_the_call(client: QueryClient, service: FakeService) -> None:
    """A closed stream yields nothing more, and the service is notified."""
    service.hang_after = 1
    stream: ItemStream
    async with aclosing(client.stream(Query("numbers"))) as stream:
        async for _ in stream:
            break
    await asyncio.wait_for(service.left.wait(), 10)
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_an_abandoned_stream_is_ended(client: QueryClient, service: FakeService) -> None:
    """`break` is enough to end the call at the service."""
    service.hang_after = 1
    async for _ in client.stream(Query("numbers")):
        break
    await asyncio.wait_for(service.left.wait(), 10)


def test_pauses_grow_up_to_a_bound() -> None:
    """Each pause is drawn from an interval twice as long as the last one, up to the bound."""
    policy = ResumePolicy(initial_backoff=1.0, max_backoff=5.0, uniform=lambda: 1.0)
    error = Unavailable("broken")
    assert [policy.backoff_delay(attempt, error) for attempt in range(1, 6)] == [1, 2, 4, 5, 5]
    assert policy.backoff_delay(1_000_000, error) == 5
    error.retry_after = 10.0
    assert policy.backoff_delay(1, error) == 11.0
    assert ResumePolicy(uniform=lambda: 0.0).backoff_delay(9, Unavailable("broken")) == 0.0
