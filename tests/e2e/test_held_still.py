"""SIGTERM while a client or Redis hangs: the server ends all the same."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, READER
from tests.support.http2_peer import silent_peer
from tests.support.processes import ServerProcess
from tests.support.redis_server import RedisServer

# Calls have an hour to end, so a server that waits for one fails the test. gRPC waits twenty
# seconds for a client that does not confirm.
_GRACE: Final = {"DYNAMODB_PROCESSOR_DRAIN_DELAY": "0", "DYNAMODB_PROCESSOR_DRAIN_GRACE": "3600"}
_LONGEST: Final = 15.0


@pytest.fixture
def hanging_redis(redis_binary: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that may hang."""
    server = RedisServer(redis_binary, tmp_path)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def reflecting(server: ServerProcess) -> AsyncIterator[None]:
    """Keep a reflection call open that has been answered once."""
    over = asyncio.Event()

    async def requests() -> AsyncIterator[Any]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        await over.wait()

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]
        call = stub.ServerReflectionInfo(requests())
        await call.read()
        yield
        over.set()


@asynccontextmanager
async def half_a_request(server: ServerProcess) -> AsyncIterator[None]:
    """Keep a call open of which half was sent."""
    async with silent_peer(server.address) as peer:
        method = "/dynamodb_processor.v1.QueryService/Query"
        await peer.call(method, bytes(1_000), READER.text, whole=False)
        await asyncio.sleep(0.5)  # The server should have seen it; if not, that is no failure.
        yield


@asynccontextmanager
async def nothing_said(server: ServerProcess) -> AsyncIterator[None]:
    """Keep a connection open that has begun, without a request."""
    async with silent_peer(server.address):
        await asyncio.sleep(0.5)  # The same.
        yield


@asynccontextmanager
async def scraping(server: ServerProcess) -> AsyncIterator[None]:
    """Keep half of a request for metrics open."""
    port = server.wait_for_event("serving")["metrics_port"]
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(b"GET /metrics HTTP/1.1\r\n")
        await writer.drain()
        yield


@pytest.mark.parametrize("hold", [reflecting, half_a_request, nothing_said, scraping])
async def test_no_client_holds_up_the_end(
    serve: Callable[..., ServerProcess], events: str, hold: Callable[[ServerProcess], Any]
) -> None:
    """The process ends by itself with exit code 0, at any stage of a client's request."""
    server = serve(CATALOG, KEYS, endpoint_url=events, env=ENVIRONMENT | _GRACE)
    async with hold(server):
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, timeout=60) == 0
    assert server.seconds_between("draining", "drained") < _LONGEST


async def test_a_redis_that_hangs_does_not_hold_up_the_end(
    serve: Callable[..., ServerProcess], events: str, hanging_redis: RedisServer
) -> None:
    """Shared pages, limits and consumers' leases do not delay the end either."""
    redis = {
        "DYNAMODB_PROCESSOR_REDIS_URL": hanging_redis.url,
        "DYNAMODB_PROCESSOR_RATE_LIMIT_STORE": "redis",
    }
    server = serve(CATALOG, KEYS, endpoint_url=events, env=ENVIRONMENT | _GRACE | redis)
    hanging_redis.pause()
    await asyncio.to_thread(server.wait_for_event, "shared_cache_not_reached")
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait, timeout=60) == 0
    assert server.seconds_between("draining", "drained") < _LONGEST
