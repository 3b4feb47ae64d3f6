"""Tests of the health service on its own server: Check, List, and Watch calls that delay nobody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import grpc
import pytest
import structlog
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dynamodb_processor_server.rpc.interceptors.chain import InterceptedHandlers
from dynamodb_processor_server.rpc.method_handlers import service_handler
from dynamodb_processor_server.rpc.server import HEALTH_SERVICE
from dynamodb_processor_server.rpc.services.health import Health
from tests.support.http2_peer import SilentPeer, silent_peer
from tests.support.running import eventually, refused

_SERVICES: Final = ("some.v1.Service",)
_WATCH: Final = "/grpc.health.v1.Health/Watch"
_PATIENCE: Final = 60.0  # seconds, after which a call that hangs fails its test


class Running:
    """A server of a health service that allows 6 Watch calls, 3 from one address."""

    def __init__(self, address: str, health: Health, channels: AsyncExitStack) -> None:
        self.address = address
        self.health = health
        self._channels = channels

    async def connect(self) -> Any:
        """Return a stub with its own connection."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        channel = grpc.aio.insecure_channel(self.address, options=options)
        await self._channels.enter_async_context(channel)
        return health_pb2_grpc.HealthStub(channel)

    async def ask(self, name: str) -> str:
        """Return the status that Check returns for a name."""
        stub = await self.connect()
        response = await stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=_PATIENCE)
        return name_of(response)


@asynccontextmanager
async def serve(max_watches: int) -> AsyncIterator[Running]:
    """Run a server that allows `max_watches` Watch calls."""
    health = Health(_SERVICES, max_watches)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    service: Any = HEALTH_SERVICE
    handlers = InterceptedHandlers([service_handler(service, health)], ())
    server.add_generic_rpc_handlers((handlers,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with AsyncExitStack() as channels:
        yield Running(f"127.0.0.1:{port}", health, channels)
    await server.stop(None)


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    """A server of a health service that allows 6 Watch calls."""
    async with serve(6) as server:
        yield server


def watch(stub: Any, name: str = "readiness") -> Any:
    """Return a call that yields the status of a name whenever it changes."""
    return stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=_PATIENCE)


def name_of(response: Any) -> str:
    """Return the name of a response's status."""
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


async def status(call: Any) -> str:
    """Return the next status of a watch."""
    return name_of(await call.read())


async def send_watch(peer: SilentPeer, name: str = "readiness") -> None:
    """Start a watch by a peer that reads nothing."""
    await peer.call(_WATCH, health_pb2.HealthCheckRequest(service=name).SerializeToString())


async def test_each_name_has_a_status(running: Running) -> None:
    """`liveness` is always SERVING, other names follow readiness, unknown ones are NOT_FOUND."""
    following = ("", "readiness", *_SERVICES)
    assert [await running.ask(name) for name in following] == ["NOT_SERVING"] * 3
    assert await running.ask("liveness") == "SERVING"
    running.health.set_ready(True)
    assert [await running.ask(name) for name in (*following, "liveness")] == ["SERVING"] * 4
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.ask("unheard.of")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_list_has_every_name(running: Running) -> None:
    """List, the newest method of the health contract, returns the same statuses as Check."""
    types: Any = health_pb2.DESCRIPTOR.message_types_by_name
    request = GetMessageClass(types["HealthListRequest"])()
    response = await (await running.connect()).List(request, timeout=_PATIENCE)
    statuses = {name: name_of(response.statuses[name]) for name in response.statuses}
    assert statuses == {
        "": "NOT_SERVING",
        "readiness": "NOT_SERVING",
        "some.v1.Service": "NOT_SERVING",
        "liveness": "SERVING",
    }


async def test_a_watch_gives_each_change(running: Running) -> None:
    """A watch begins with the current status and continues with each change."""
    watching = watch(await running.connect())
    assert await status(watching) == "NOT_SERVING"
    for ready, word in ((True, "SERVING"), (False, "NOT_SERVING")):
        running.health.set_ready(ready)
        assert await status(watching) == word


async def test_a_watch_of_an_unknown_name_stays_open(running: Running) -> None:
    """The watch gets SERVICE_UNKNOWN, as the contract says, and ends with the others."""
    watching = watch(await running.connect(), "unheard.of")
    assert await status(watching) == "SERVICE_UNKNOWN"
    running.health.set_ready(True)
    assert running.health.watches == 1
    running.health.end_watches()
    assert (await refused(watching.read())).reason == "DRAINING"


async def test_a_watcher_that_takes_nothing_delays_nobody(running: Running) -> None:
    """Changes reach all others at once, and the call itself ends with the server's."""
    watching = watch(await running.connect())
    assert await status(watching) == "NOT_SERVING"
    async with silent_peer(running.address) as peer:
        await send_watch(peer)
        await send_watch(peer, "")
        await eventually(lambda: running.health.watches == 3)
        for ready, word in ((True, "SERVING"), (False, "NOT_SERVING"), (True, "SERVING")):
            running.health.set_ready(ready)
            assert await status(watching) == word
            assert await running.ask("readiness") == word
        running.health.end_watches()
        assert (await refused(watching.read())).code is grpc.StatusCode.UNAVAILABLE
        await eventually(lambda: running.health.watches == 0)


async def test_the_last_status_comes_before_the_end(running: Running) -> None:
    """A watch gets NOT_SERVING even if the server ends it directly afterwards."""
    running.health.set_ready(True)
    watching = watch(await running.connect())
    assert await status(watching) == "SERVING"
    running.health.set_ready(False)
    running.health.end_watches()
    assert await status(watching) == "NOT_SERVING"
    assert (await refused(watching.read())).reason == "DRAINING"
    assert (await refused(watch(await running.connect()).read())).reason == "DRAINING"


async def test_watches_are_bounded_by_connection() -> None:
    """The seventeenth watch on a connection is refused; another connection is served."""
    async with serve(100) as running:
        stub = await running.connect()
        watching = [watch(stub) for _ in range(16)]
        for call in watching:
            await status(call)
        refusal = await refused(watch(stub).read())
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.message == "too many health watches are open on this connection"
        assert refusal.details["RetryInfo"].retry_delay.seconds == 5
        assert await status(watch(await running.connect())) == "NOT_SERVING"
        assert await running.ask("readiness") == "NOT_SERVING"


async def test_watches_are_bounded_by_address(running: Running) -> None:
    """No address has more than half of the watches over all its connections; an end frees one."""
    watching = [watch(await running.connect()) for _ in range(3)]
    for call in watching:
        await status(call)
    refusal = await refused(watch(await running.connect()).read())
    assert refusal.message == "too many health watches are open from this address"
    watching[0].cancel()
    await eventually(lambda: running.health.watches == 2)
    assert await status(watch(await running.connect())) == "NOT_SERVING"


async def test_watches_of_clients_that_left_are_given_back(running: Running) -> None:
    """A connection that breaks ends its watches, whether they were written to or not."""
    async with silent_peer(running.address) as peer:
        for _ in range(3):
            await send_watch(peer)
        await eventually(lambda: running.health.watches == 3)
    await eventually(lambda: running.health.watches == 0)


async def test_a_watcher_that_leaves_is_no_failure(running: Running) -> None:
    """A status that can no longer be written ends the call, and nothing is logged as a defect."""
    stub = await running.connect()
    with structlog.testing.capture_logs() as logged:
        for number in range(50):
            watching = watch(stub)
            await status(watching)
            watching.cancel()
            await asyncio.sleep(0.001 * (number % 5))  # the cancellation is on its way or has come
            running.health.set_ready(number % 2 == 0)
            await eventually(lambda: running.health.watches == 0)
    assert not [record for record in logged if record["log_level"] == "error"]


async def test_the_request_of_a_watch_is_bounded(running: Running) -> None:
    """A name longer than any service's is refused, as the request lives as long as its call."""
    refusal = await refused(watch(await running.connect(), "x" * 600).read())
    assert refusal.fields == ["service"]
    assert running.health.watches == 0
