"""Tests of `StreamQuery`: every message is complete, and can be resumed from."""

from __future__ import annotations

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    Budget,
    CachePolicy,
    PageEnd,
    QuerySpec,
)
from dynamodb_processor.v1.query_service_pb2 import StreamQueryResponse
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.rpc.logged import Logged
from tests.support.running import (
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refusal_of,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_BYPASS = CachePolicy(mode=CACHE_MODE_BYPASS)
_EVERY = list(range(1, 251))


def of(user: str, more: str = "", /, table: str = "events", **fields: Any) -> QuerySpec:
    """Return a query of one user's events."""
    return query_spec(table, f"user_id = :u {more}", parameters={"u": user}, **fields)


def ends(messages: list[StreamQueryResponse]) -> list[str]:
    """Return the reason of each message's end."""
    return [PageEnd.Name(message.end).removeprefix("PAGE_END_") for message in messages]


def items(messages: list[StreamQueryResponse]) -> list[int]:
    """Return the items of all messages, in order."""
    return [n for message in messages for n in numbers(message.items, "at")]


@pytest.mark.parametrize("cache", [CachePolicy(), _BYPASS], ids=["cached", "bypassing"])
async def test_a_stream_gives_every_page(service: Service, cache: CachePolicy) -> None:
    """Messages are numbered from 1, with running totals, and only the last one has `last`."""
    messages = await service.messages(of(ULRIKE), page_size=80, cache=cache)
    assert items(messages) == _EVERY
    assert [message.sequence for message in messages] == [1, 2, 3, 4]
    assert [message.last for message in messages] == [False, False, False, True]
    assert ends(messages) == ["PAGE_FULL"] * 3 + ["EXHAUSTED"]
    assert [bool(message.resume_token) for message in messages] == [True, True, True, False]
    assert [m.stats.items_returned for m in messages] == [80, 80, 80, 10]
    assert [m.cumulative.items_returned for m in messages] == [80, 160, 240, 250]
    for number, message in enumerate(messages, 1):
        own = [m.stats for m in messages[:number]]
        total = message.cumulative
        assert total.items_scanned == sum(stats.items_scanned for stats in own)
        assert total.backend_calls == sum(stats.backend_calls for stats in own)
        assert total.read_units == pytest.approx(sum(stats.read_units for stats in own))


async def test_a_stream_without_items_has_one_message(service: Service) -> None:
    """A stream does not end OK without a last message."""
    (message,) = await service.messages(of("nobody"))
    assert (message.sequence, message.last, message.resume_token) == (1, True, "")
    assert not message.items
    assert ends([message]) == ["EXHAUSTED"]


async def test_a_stream_resumes_behind_any_message(service: Service) -> None:
    """`sequence` and `cumulative` start again, the items continue."""
    whole = await service.messages(of(ULRIKE), page_size=30)
    for cut, message in enumerate(whole[:-1], 1):
        rest = await service.messages(of(ULRIKE), page_size=30, resume_token=message.resume_token)
        assert items(whole[:cut]) + items(rest) == _EVERY
        assert rest[0].sequence == 1
        assert rest[0].cumulative.items_returned == len(rest[0].items)


async def test_max_items_ends_a_stream(service: Service) -> None:
    """The end has its reason, and no token."""
    messages = await service.messages(of(ULRIKE, max_items=100), page_size=40)
    assert [len(message.items) for message in messages] == [40, 40, 20]
    assert ends(messages)[-1] == "MAX_ITEMS"
    assert (messages[-1].last, messages[-1].resume_token) == (True, "")


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        (Budget(max_scanned_items=100), "SCAN_BUDGET"),
        (Budget(max_read_units=2.0), "READ_UNIT_BUDGET"),
        (Budget(max_duration=Duration(nanos=1)), "TIME_BUDGET"),
    ],
    ids=["scanned items", "read units", "time"],
)
async def test_a_budget_ends_a_stream_well(service: Service, budget: Budget, reason: str) -> None:
    """It ends OK with `last`, and a token for the rest."""
    spec = of(ULRIKE)
    messages = await service.messages(spec, page_size=40, budget=budget)
    assert ends(messages)[-1] == reason
    assert messages[-1].last
    assert 0 < messages[-1].cumulative.items_returned < 250
    rest = await service.messages(spec, resume_token=messages[-1].resume_token)
    assert items(messages) + items(rest) == _EVERY


async def test_a_long_search_reports_progress(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Messages without items show the progress, and can be resumed from."""
    catalog = events_catalog(events)
    spec = of(ULRIKE, "AND note = 'there is none such'")
    async with open_service(tmp_path, dynamodb_local, catalog, stream_interval=0.001) as service:
        messages = await service.messages(spec, page_size=4, cache=_BYPASS)
        assert len(messages) > 2
        assert set(ends(messages[:-1])) == {"TIME_BUDGET"}
        assert ends(messages)[-1] == "EXHAUSTED"
        assert [message.last for message in messages] == [False] * (len(messages) - 1) + [True]
        scanned = [message.cumulative.items_scanned for message in messages]
        assert scanned == sorted(scanned)
        assert scanned[-1] == 250
        assert len({message.resume_token for message in messages}) == len(messages)
        rest = await service.messages(
            spec, page_size=4, cache=_BYPASS, resume_token=messages[1].resume_token
        )
        assert rest[-1].cumulative.items_scanned == 250 - scanned[1]


async def test_nothing_is_sent_before_the_first_page(service: Service) -> None:
    """A refused stream has no initial metadata of its own, so clients may retry it elsewhere."""
    call = service.stream(of(ULRIKE, order=77))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert not caught.value.initial_metadata()


async def test_a_streams_trailers_have_its_request_id(service: Service) -> None:
    """A successful stream has it, too."""
    call = service.stream(of(VIKTOR))
    async for _ in call:
        pass
    assert "x-request-id" in dict((await call.trailing_metadata()) or ())


async def test_a_draining_server_ends_streams_after_a_whole_message(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """It ends UNAVAILABLE; another replica continues without loss, and unary calls finish."""
    key = make_key("tester")
    token_keys = "shared:" + base64.urlsafe_b64encode(os.urandom(32)).decode()
    logged.secrets.add(token_keys.partition(":")[2])
    catalog = events_catalog(events)
    spec = of(ULRIKE, table="uncached")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with open_service(
        tmp_path / "first", dynamodb_local, catalog, [key], token_keys=token_keys, drain_grace=10.0
    ) as first:
        stream = aiter(first.stream(spec, page_size=1))
        received = [await anext(stream)]
        unary = [asyncio.ensure_future(first.query(of(VIKTOR, table="uncached"))) for _ in range(5)]
        # Calls that have not reached a handler when gRPC stops are cancelled; these have.
        begun = first.app._service.server._handlers._active
        await eventually(lambda: begun.count + len(logged.of("call")) == 6)
        leaving = asyncio.ensure_future(first.app.drain())
        with pytest.raises(grpc.aio.AioRpcError) as caught:  # noqa: PT012 - the loop is the point
            async for message in stream:
                received.append(message)  # noqa: PERF401 - kept although the loop ends in an error
        await leaving
        refusal = refusal_of(caught.value)
        assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "DRAINING")
        assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() == 0
        assert [page.stats.items_returned for page in await asyncio.gather(*unary)] == [5] * 5
    assert not any(message.last for message in received)
    assert 1 <= len(received) < 250
    async with open_service(
        tmp_path / "second", dynamodb_local, catalog, [key], token_keys=token_keys
    ) as second:
        rest = await second.messages(spec, resume_token=received[-1].resume_token)
    assert items(received) + items(rest) == _EVERY


async def test_a_cancelled_stream_stops_reading(service: Service, logged: Logged) -> None:
    """The read ahead stops too, and the access log has the progress."""
    call = service.stream(of(ULRIKE, table="uncached"), page_size=1)
    first: Any = await call.read()
    assert first.sequence == 1
    call.cancel()
    await eventually(lambda: logged.of("call"))
    (record,) = logged.of("call")
    assert record["status"] == "CANCELLED"
    assert record["request_id"]
    assert 1 <= record["messages"] == record["items"] < 250
