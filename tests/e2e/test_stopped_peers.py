"""SIGTERM while clients hang: the server's end does not wait for them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import pytest
from grpc_health.v1 import health_pb2

from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS
from tests.support.http2_peer import silent_peer
from tests.support.processes import ServerProcess, clean_environment
from tests.support.running import eventually

# A server that waits for its clients waits for an hour, and fails the test long before.
_GRACE: Final = {"DYNAMODB_PROCESSOR_DRAIN_DELAY": "0", "DYNAMODB_PROCESSOR_DRAIN_GRACE": "3600"}
# gRPC gives up a connection whose client does not confirm its end after 20 seconds.
_CLIENT_TIMEOUT: Final = 15.0
_WATCHER: Final = """
import sys, grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
with grpc.insecure_channel(sys.argv[1]) as channel:
    for response in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
        print(response.status, flush=True)
"""


@pytest.fixture
def server(serve: Callable[..., ServerProcess], events: str) -> ServerProcess:
    """A server process that gives calls an hour to end."""
    return serve(CATALOG, KEYS, endpoint_url=events, env=ENVIRONMENT | _GRACE)


@contextmanager
def watcher(address: str) -> Iterator[subprocess.Popen[str]]:
    """Run a client that has received the server's status and watches it."""
    command = [sys.executable, "-c", _WATCHER, address]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, env=clean_environment(), text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "1\n"
            yield process
        finally:
            process.kill()


def test_a_watcher_that_was_stopped_does_not_hold_up_the_end(server: ServerProcess) -> None:
    """A suspended client confirms neither the end of a call nor that of a connection."""
    with watcher(server.address) as process:
        process.send_signal(signal.SIGSTOP)
        server.signal(signal.SIGTERM)
        assert server.wait(timeout=60) == 0
    assert server.seconds_between("draining", "drained") < _CLIENT_TIMEOUT


async def test_a_watcher_that_takes_nothing_does_not_hold_up_the_end(
    server: ServerProcess,
) -> None:
    """Neither the end of readiness nor that of the server waits for a client to read a status."""
    async with silent_peer(server.address) as peer:
        for name in ("", "readiness"):
            request = health_pb2.HealthCheckRequest(service=name)
            await peer.call("/grpc.health.v1.Health/Watch", request.SerializeToString())
        await eventually(lambda: server.metric("health_watches") == 2)
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, timeout=60) == 0
        assert server.seconds_between("draining", "drained") < _CLIENT_TIMEOUT
