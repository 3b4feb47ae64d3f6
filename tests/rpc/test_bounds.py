"""Tests the bounds on a client's requests, calls, responses and connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.rpc.data import events_catalog
from tests.support.http2_peer import SilentPeer, silent_peer
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refusal_of,
    refused,
)
from tests.support.slow_client import slow_client

_QUERY: Final = "/dynamodb_processor.v1.QueryService/Query"
_CHECK: Final = "/grpc.health.v1.Health/Check"
_LARGE: Final = 1_000_000


@pytest_asyncio.fixture
async def bounded(tmp_path: Path, dynamodb_local: str, events: str) -> AsyncIterator[Service]:
    """A server with low bounds, whose keys are "loud", "quiet" and, for statistics, "admin"."""
    admin = make_key("admin", roles=["admin"])
    async with open_service(
        tmp_path,
        dynamodb_local,
        events_catalog(events),
        [make_key("loud"), make_key("quiet"), admin],
        max_calls=20,
        max_unauthenticated_calls=200,
        max_unsent_bytes=4 * 1024 * 1024,
        request_timeout=0.5,
        unary_deadline=2.0,
        max_connections=16,
        metrics_listen="127.0.0.1:0",
    ) as service:
        yield service


def _bounds(service: Service) -> Any:
    return service.app.bounds


async def _refused(call: Any) -> grpc.StatusCode:
    return (await refused(call)).code


async def test_nothing_of_a_request_without_a_key_is_kept(bounded: Service) -> None:
    """Calls without a key end before their requests are received."""
    async with slow_client(bounded.app.address) as client:
        for _ in range(50):
            await client.begin(_QUERY, _LARGE)
        await eventually(lambda: client.open == 0)
    assert _bounds(bounded).receiver.pending == 0
    assert client.sent < 50 * 100_000


async def test_probes_that_do_not_end_make_room_for_those_that_do(bounded: Service) -> None:
    """Few incomplete probes are received at once, and complete ones are answered beside them."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(slow_client(bounded.app.address)) for _ in range(4)
        ]
        for client in clients:
            for _ in range(25):
                await client.begin(_CHECK, _LARGE)
        assert await bounded.check("liveness") == "SERVING"
        await eventually(lambda: sum(client.open for client in clients) <= 32)
        await eventually(lambda: sum(client.open for client in clients) == 0)
    assert _bounds(bounded).receiver.given_up >= 68


async def test_an_incomplete_request_is_given_up(bounded: Service) -> None:
    """A caller with a key has a time to send its request, and frees its place afterwards."""
    key = bounded.keys["loud"].text
    async with slow_client(bounded.app.address) as client:
        for _ in range(5):
            await client.begin(_QUERY, _LARGE, key)
        await eventually(lambda: _bounds(bounded).under_way.calls == 5)
        await eventually(lambda: client.open == 0)
    await eventually(lambda: _bounds(bounded).under_way.calls == 0)
    await bounded.query(query_spec("events", "user_id = 'viktor'"), key="loud")


async def test_half_of_the_calls_are_for_one_principal(bounded: Service) -> None:
    """A principal with half of all calls in flight is refused, and others are not."""
    key = bounded.keys["loud"].text
    async with slow_client(bounded.app.address) as client:
        for _ in range(10):
            await client.begin(_QUERY, _LARGE, key)
        await eventually(lambda: _bounds(bounded).under_way.calls == 10)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await bounded.query(query_spec("events", "user_id = 'viktor'"), key="loud")
        refusal = refusal_of(caught.value)
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.reason == "RATE_LIMITED"
        assert refusal.details["RetryInfo"].retry_delay.seconds == 1
        assert refusal.details["QuotaFailure"].violations[0].subject == "loud"
        await bounded.query(query_spec("events", "user_id = 'viktor'"), key="quiet")
    assert _bounds(bounded).under_way.refused["calls"] == 1


async def test_answers_that_are_not_taken_are_bounded_in_bytes(bounded: Service) -> None:
    """If a principal has not taken half of all bytes, its responses are refused instead of sent."""
    under_way = _bounds(bounded).under_way
    share = under_way.enter("loud")
    under_way.sending(share, 2 * 1024 * 1024)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bounded.query(query_spec("events", "user_id = 'viktor'"), key="loud")
    assert refusal_of(caught.value).details["QuotaFailure"].violations[0].subject == "loud"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await bounded.messages(query_spec("events", "user_id = 'viktor'"), key="loud")
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    await bounded.query(query_spec("events", "user_id = 'viktor'"), key="quiet")
    under_way.sent(share, 2 * 1024 * 1024)
    await bounded.query(query_spec("events", "user_id = 'viktor'"), key="loud")
    assert await bounded.messages(query_spec("events", "user_id = 'viktor'"), key="loud")
    await eventually(lambda: under_way.unsent_bytes == 0)


async def _ask(peer: SilentPeer, calls: int, key: str) -> None:
    request = QueryRequest(query=query_spec("events", "user_id = 'viktor'")).SerializeToString()
    for _ in range(calls):
        await peer.call(_QUERY, request, key)


async def test_an_answer_is_under_way_until_it_is_taken(bounded: Service) -> None:
    """Calls whose handlers have returned count until their caller has taken the response."""
    under_way = _bounds(bounded).under_way
    async with silent_peer(bounded.app.address) as peer:
        await _ask(peer, 10, bounded.keys["loud"].text)
        await eventually(lambda: under_way.calls == 10 and under_way.unsent_bytes > 0)
    await eventually(lambda: (under_way.calls, under_way.unsent_bytes) == (0, 0))


async def test_a_client_that_takes_no_answer_is_disconnected(bounded: Service) -> None:
    """A caller without a deadline cannot leave its response with the server forever."""
    bounds = _bounds(bounded)
    async with silent_peer(bounded.app.address) as peer:
        await _ask(peer, 1, bounded.keys["loud"].text)
        await eventually(lambda: bounds.under_way.unsent_bytes > 0)
        await eventually(lambda: bounds.connections.closed == 1)
        await eventually(lambda: (bounds.under_way.calls, bounds.under_way.unsent_bytes) == (0, 0))


async def test_one_address_has_half_of_the_connections(bounded: Service) -> None:
    """If an address has more, its connections with the longest silence are closed."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(slow_client(bounded.app.address, "127.0.0.2"))
            for _ in range(12)
        ]
        await eventually(lambda: sum(not client.closed for client in clients) == 8)
        assert await bounded.check("liveness") == "SERVING"


async def test_there_are_no_more_connections_than_set(bounded: Service) -> None:
    """A connection beyond the bound is closed as soon as it is made."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(slow_client(bounded.app.address, f"127.0.0.{2 + n}"))
            for n in range(24)
        ]
        await eventually(lambda: sum(not client.closed for client in clients) <= 16)


async def test_unknown_methods_and_keys_count_as_unauthenticated(bounded: Service) -> None:
    """Unauthenticated calls are counted until their refusals have been sent."""
    make: Any = bounded.channel.unary_unary("/no.such.Service/Method")
    assert await _refused(make(b"")) is grpc.StatusCode.UNIMPLEMENTED
    stats: Any = bounded.cache.GetCacheStats
    assert await _refused(stats(GetCacheStatsRequest())) is grpc.StatusCode.UNAUTHENTICATED
    await eventually(lambda: len(_bounds(bounded).unauthenticated) == 0)


async def test_a_connection_has_few_probes_at_once(bounded: Service) -> None:
    """Few untaken responses of probes are held for one connection, and others are served."""
    async with silent_peer(bounded.app.address) as peer:
        for _ in range(50):
            await peer.call(_CHECK, b"")
        await eventually(lambda: _bounds(bounded).unauthenticated.refused == 18)
        assert await bounded.check("liveness") == "SERVING"


async def test_too_many_unauthenticated_calls_cost_the_connection_with_most(
    bounded: Service,
) -> None:
    """If probes are not taken on many connections, those with most of them are closed."""
    async with AsyncExitStack() as stack:
        for _ in range(7):
            peer = await stack.enter_async_context(silent_peer(bounded.app.address))
            for _ in range(31):
                await peer.call(_CHECK, b"")
        await eventually(lambda: _bounds(bounded).connections.closed >= 1)
        await eventually(lambda: len(_bounds(bounded).unauthenticated) <= 200)
        assert await bounded.check("liveness") == "SERVING"


async def test_a_call_without_a_request_is_refused(bounded: Service) -> None:
    """A stream that ends before its request does not wait forever."""
    make: Any = bounded.channel.stream_unary(_QUERY)

    async def nothing() -> AsyncIterator[bytes]:
        await asyncio.sleep(0)
        return
        yield b""

    code = await _refused(make(nothing(), metadata=bounded.metadata("loud")))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
