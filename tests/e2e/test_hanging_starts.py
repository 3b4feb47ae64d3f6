"""Starts while a dependency hangs are bounded, report liveness, and end by a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.event_service import ENVIRONMENT, KEYS
from tests.support.processes import ServerProcess, free_address, start_command
from tests.support.running import eventually
from tests.support.silent_server import silent_server

# One after another they would take ten minutes to time out.
_CATALOG: Final = {"tables": {f"table-{number}": None for number in range(40)}}
_PATIENCE: Final = 60.0


@pytest.fixture(params=["DynamoDB", "Redis", "credentials"])
def hanging(request: pytest.FixtureRequest) -> Iterator[tuple[list[str], dict[str, str]]]:
    """The flags and variables of a server of which one dependency hangs."""
    with silent_server() as port:
        url = f"127.0.0.1:{port}"
        nowhere = "--endpoint-url=http://127.0.0.1:9"
        match request.param:
            case "DynamoDB":
                yield [f"--endpoint-url=http://{url}"], {}
            case "Redis":
                redis = {
                    "DYNAMODB_PROCESSOR_REDIS_URL": f"redis://{url}",
                    "DYNAMODB_PROCESSOR_RATE_LIMIT_STORE": "redis",
                }
                yield [nowhere], redis
            case _:
                credentials = {
                    "AWS_ACCESS_KEY_ID": "",
                    "AWS_SECRET_ACCESS_KEY": "",
                    "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"http://{url}/credentials",
                }
                yield [nowhere], credentials


def begin(
    directory: Path, address: str, hanging: tuple[list[str], dict[str, str]]
) -> ServerProcess:
    """Start a server that would wait for an hour between the end of readiness and its own."""
    flags, env = hanging
    (directory / "catalog.yaml").write_text(yaml.safe_dump(_CATALOG), "utf-8")
    (directory / "keys.yaml").write_text(yaml.safe_dump(KEYS), "utf-8")
    arguments = ["--catalog=catalog.yaml", "--keys=keys.yaml", f"--listen={address}"]
    arguments += ["--metrics-listen=127.0.0.1:0", *flags]
    env = ENVIRONMENT | {"DYNAMODB_PROCESSOR_DRAIN_DELAY": "3600"} | env
    return start_command(["serve", *arguments], env=env, cwd=directory)


async def lives(address: str) -> bool:
    """Return whether a server reports liveness."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service="liveness")
        try:
            response = await stub.Check(request, timeout=5)
        except grpc.aio.AioRpcError:
            return False
    return bool(response.status == health_pb2.HealthCheckResponse.SERVING)


async def test_a_signal_ends_a_start_that_hangs(
    tmp_path: Path, hanging: tuple[list[str], dict[str, str]]
) -> None:
    """The server is alive from the start, and SIGTERM ends it with exit code 0."""
    address = free_address()
    server = begin(tmp_path, address, hanging)
    try:
        await eventually(lambda: lives(address), patience=_PATIENCE)
        server.signal(signal.SIGTERM)
        assert await asyncio.to_thread(server.wait, timeout=_PATIENCE) == 0
    finally:
        server.process.kill()
    assert "Traceback" not in server.output
    assert not [record for record in server.records if record["event"] == "exit_forced"]


def test_a_start_is_bounded(tmp_path: Path, hanging: tuple[list[str], dict[str, str]]) -> None:
    """The server becomes ready, and reports missing tables, however many there are."""
    server = begin(tmp_path, free_address(), hanging)
    try:
        server.wait_for_event("serving", timeout=_PATIENCE)
        assert len(server.wait_for_event("tables_missing")["tables"]) == 40
        assert server.stop(timeout=_PATIENCE) == 0
    finally:
        server.process.kill()
