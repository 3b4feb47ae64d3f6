"""Tests of the bounds that the calls of a session send, with both clients."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client import CacheMode, CachePolicy, InvalidArgument, Query, QueryClient
from tests.support.fake_service import Cut, Failure, FakeService
from tests.support.gate import Gate

_QUERY: Final = Query("numbers")
_WRITTEN: Final = datetime(2026, 1, 31, 12, tzinfo=UTC)
_UNREADABLE: Final = Failure(
    grpc.StatusCode.INVALID_ARGUMENT,
    details=(
        BadRequest(
            field_violations=[BadRequest.FieldViolation(field="cache.not_before_token")],
        ),
    ),
)


def sent(request: Any) -> str:
    """Return the tokens that a request was sent with."""
    token: str = request.cache.not_before_token
    return token


async def test_each_read_sends_the_token_of_the_read_before(
    client: QueryClient, service: FakeService
) -> None:
    """Pages, streams and counts of one table share the session's tokens."""
    service.freshness_tokens.extend(["a", "b", "c", "d"])
    session = client.session()
    page = await session.query(_QUERY)
    assert page.freshness_token == "a"
    count = await session.count(_QUERY)
    assert count.freshness_token == "b"
    stream = session.stream(_QUERY, page_size=500)
    assert [item["n"] async for item in stream] == [Decimal(n) for n in range(1_000)]
    assert stream.freshness_token == "d"
    pages = session.pages(_QUERY)
    await anext(pages)
    await session.query(Query("other"))
    assert [sent(one) for one in service.requests] == ["", ""]
    assert [sent(one) for one in service.count_requests] == ["a"]
    assert [sent(one) for one in service.stream_requests] == ["b", "d"]


async def test_a_client_alone_sends_no_tokens(client: QueryClient, service: FakeService) -> None:
    """Answers have tokens without a session too, for the caller to send."""
    service.freshness_tokens.extend(["a", "b"])
    page = await client.query(_QUERY)
    again = await client.query(_QUERY, cache=CachePolicy(not_before_token=page.freshness_token))
    await client.query(_QUERY)
    assert again.freshness_token == "b"
    first, second, third = service.requests
    assert not first.HasField("cache")
    assert sent(second) == "a"
    assert not third.HasField("cache")


async def test_reads_that_overlap_lose_no_token(client: QueryClient, service: FakeService) -> None:
    """The next read sends the tokens of both, whichever answer came last."""
    first, second = Gate(), Gate()
    service.gates.extend([first, second])
    service.freshness_tokens.extend(["b", "a", "c"])
    session = client.session()
    slow = asyncio.create_task(session.query(_QUERY))
    await first.reached.wait()
    fast = asyncio.create_task(session.query(_QUERY))
    await second.reached.wait()
    second.opened.set()
    assert (await fast).freshness_token == "b"
    first.opened.set()
    assert (await slow).freshness_token == "a"
    await session.query(_QUERY)
    await session.query(_QUERY)
    assert [sent(one) for one in service.requests] == ["", "", "a.b", "c"]


async def test_a_write_is_a_bound_for_later_reads(
    client: QueryClient, service: FakeService
) -> None:
    """`wrote` sends its time, by default the present, for the tables that it names or for all."""
    session = client.session()
    session.wrote("numbers", at=_WRITTEN)
    await session.query(_QUERY)
    await session.query(Query("other"))
    before = datetime.now(UTC)
    session.wrote()
    await session.query(Query("other"))
    first, second, third = service.requests
    assert first.cache.not_before.ToDatetime(UTC) == _WRITTEN
    assert not second.cache.HasField("not_before")
    assert before <= third.cache.not_before.ToDatetime(UTC) <= datetime.now(UTC)
    with pytest.raises(ValueError, match=r"at has no time zone; datetime\.now\(UTC\) has one"):
        session.wrote(at=datetime(2026, 1, 31))  # noqa: DTZ001 - the error
    with pytest.raises(TypeError, match="at is a datetime, not 5"):
        session.wrote(at=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="table is a string, not 5"):
        session.wrote(5)  # type: ignore[arg-type]


async def test_the_policy_of_the_caller_is_kept(client: QueryClient, service: FakeService) -> None:
    """A session adds its bounds to the mode and the age that the caller asks for."""
    service.freshness_tokens.append("a")
    session = client.session()
    await session.query(_QUERY)
    session.wrote(at=_WRITTEN)
    policy = CachePolicy(CacheMode.REFRESH, timedelta(seconds=3), not_before_token="given")
    await session.count(_QUERY, cache=policy, up_to=5)
    (request,) = service.count_requests
    assert request.cache.mode == query_pb2.CACHE_MODE_REFRESH
    assert request.cache.max_staleness.seconds == 3
    assert request.cache.not_before.ToDatetime(UTC) == _WRITTEN
    assert sent(request) == "a.given"
    with pytest.raises(TypeError, match="cache is a CachePolicy, not 'x'"):
        await session.query(_QUERY, cache="x")  # type: ignore[arg-type]


async def test_a_resumed_stream_sends_the_bounds_of_that_moment(
    client: QueryClient, service: FakeService
) -> None:
    """After a break the rest is as recent as the pages so far, and as other reads meanwhile."""
    service.cuts.append(Cut(after=2))
    service.freshness_tokens.extend(["a", "b", "c", "d", "e"])
    session = client.session()
    pages = session.pages(_QUERY, page_size=400)
    assert [(await anext(pages)).freshness_token for _ in range(2)] == ["a", "b"]
    await session.query(_QUERY)
    session.wrote(at=_WRITTEN)
    assert (await anext(pages)).freshness_token == "b.d", "those of its two calls"
    first, resumed = service.stream_requests
    assert sent(first) == ""
    assert sent(resumed) == "c"
    assert resumed.cache.not_before.ToDatetime(UTC) == _WRITTEN


async def test_the_token_of_a_broken_stream_covers_both_parts(
    client: QueryClient, service: FakeService
) -> None:
    """Without a session the rest need not be as recent; the token then stands for both parts."""
    service.cuts.append(Cut(after=2))
    service.freshness_tokens.extend(["a", "b", "c"])
    pages = client.pages(_QUERY, page_size=400, cache=CachePolicy(not_before_token="given"))
    assert pages.freshness_token == ""
    found = [page.freshness_token async for page in pages]
    assert found == ["a", "b", "b.c"]
    assert pages.freshness_token == "b.c"
    assert [sent(one) for one in service.stream_requests] == ["given", "given"]


async def test_the_token_of_a_count_covers_all_its_calls(
    client: QueryClient, service: FakeService
) -> None:
    """A count that needed two calls has the tokens of both, joined."""
    service.counted_at_once = 500
    service.freshness_tokens.extend(["a", "b"])
    assert (await client.count(_QUERY)).freshness_token == "a.b"


async def test_gets_belong_to_the_session(client: QueryClient, service: FakeService) -> None:
    """The batches of a get are sent with the bounds of its start, and each leaves its token."""
    service.freshness_tokens.extend(["a", "b", "c", "d"])
    session = client.session()
    await session.query(_QUERY)
    found = await session.get("numbers", [{"n": n} for n in range(150)], projection=["n"])
    assert len(found) == 150
    assert found.freshness_token == "b.c"
    await session.query(_QUERY)
    assert [sent(one) for one in service.batch_requests] == ["a", "a"]
    assert [sent(one) for one in service.requests] == ["", "b.c"]
    policy = CachePolicy(CacheMode.BYPASS, not_before_token="given")
    await client.get("numbers", [{"n": 1}], cache=policy)
    assert service.batch_requests[-1].cache == policy.to_message()


async def test_a_session_continues_from_its_token(
    client: QueryClient, service: FakeService
) -> None:
    """The next request to a web service, perhaps in another process, goes on with its text."""
    service.freshness_tokens.append("a")
    session = client.session()
    assert session.token == ""
    await session.query(_QUERY)
    session.wrote("numbers", at=_WRITTEN)
    following = client.session(session.token)
    await following.query(_QUERY)
    request = service.requests[-1]
    assert sent(request) == "a"
    assert request.cache.not_before.ToDatetime(UTC) == _WRITTEN
    with pytest.raises(ValueError, match="not the token of a session"):
        client.session("forged")


async def test_tokens_that_the_service_cannot_read_are_replaced_by_the_time(
    client: QueryClient, service: FakeService
) -> None:
    """A session that outlives the service's keys goes on, with a bound that is later."""
    service.freshness_tokens.extend(["a", "b", "c"])
    session = client.session()
    await session.query(_QUERY)
    began = datetime.now(UTC)
    service.failures.append(_UNREADABLE)
    await session.query(_QUERY)
    request = service.requests[-1]
    assert sent(request) == ""
    assert began <= request.cache.not_before.ToDatetime(UTC) <= datetime.now(UTC)

    service.cuts.append(Cut(0, _UNREADABLE))
    await anext(session.pages(_QUERY, page_size=400))
    refused, repeated = service.stream_requests
    assert [sent(one) for one in (refused, repeated)] == ["b", ""]
    service.cuts.extend([Cut(0, _UNREADABLE)] * 2)
    with pytest.raises(InvalidArgument):
        await anext(session.pages(_QUERY))


async def test_an_unreadable_token_of_the_caller_is_an_error(
    client: QueryClient, service: FakeService
) -> None:
    """Only a session may replace its own tokens."""
    service.failures.extend([_UNREADABLE] * 2)
    policy = CachePolicy(not_before_token="given")
    with pytest.raises(InvalidArgument):
        await client.query(_QUERY, cache=policy)
    with pytest.raises(InvalidArgument):
        await client.count(_QUERY, cache=policy)


async def test_models_in_a_session(client: QueryClient, service: FakeService) -> None:
    """A stream of models belongs to the session as any other stream."""
    service.freshness_tokens.extend(["a", "b"])
    session = client.session()
    stream = session.stream(_QUERY, as_=_Number, page_size=1)
    assert await anext(stream) == _Number(0)
    assert stream.freshness_token == "a"
    await session.query(_QUERY)
    assert sent(service.requests[0]) == "a"


@dataclass
class _Number:
    n: int
