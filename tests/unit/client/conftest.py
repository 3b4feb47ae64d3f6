"""Fixtures: a running fake service, and a clock that only `sleep` advances."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
import pytest

from dynamodb_processor.v1.cache_service_pb2_grpc import add_CacheServiceServicer_to_server
from dynamodb_processor.v1.catalog_service_pb2_grpc import add_CatalogServiceServicer_to_server
from dynamodb_processor.v1.query_service_pb2_grpc import add_QueryServiceServicer_to_server
from dynamodb_processor_client import QueryClient, ResumePolicy
from tests.unit.client.commands import COMMAND, Outcome, Run
from tests.unit.client.service import FakeService, numbered


@dataclass
class FakeTime:
    """A clock that only `sleep` advances; it records the requested pauses."""

    now: float = 1_000.0
    pauses: list[float] = field(default_factory=list)

    def read(self) -> float:
        """Return the time."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Advance the time at once."""
        self.pauses.append(seconds)
        self.now += seconds


@asynccontextmanager
async def running(
    service: FakeService, credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[grpc.aio.Server]:
    """Run the service on a free port and set its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    add_QueryServiceServicer_to_server(service, server)
    add_CatalogServiceServicer_to_server(service, server)
    add_CacheServiceServicer_to_server(service, server)
    if credentials is None:
        port = server.add_insecure_port("127.0.0.1:0")
    else:
        port = server.add_secure_port("127.0.0.1:0", credentials)
    service.address = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield server
    finally:
        await server.stop(grace=None)


@pytest.fixture
async def service() -> AsyncIterator[FakeService]:
    """A service with a table of 1,000 items."""
    service = FakeService(items=numbered(1_000))
    async with running(service):
        yield service


@pytest.fixture
def time() -> FakeTime:
    """The clock of the client in these tests."""
    return FakeTime()


@pytest.fixture
async def client(service: FakeService, time: FakeTime) -> AsyncIterator[QueryClient]:
    """A client of the service that resumes at once, without retries by the channel."""
    policy = ResumePolicy(sleep=time.sleep, uniform=lambda: 0.5, clock=time.read)
    async with QueryClient(
        service.address,
        api_key="ddbp_test",
        resume=policy,
        options=[("grpc.enable_retries", 0)],
    ) as client:
        yield client


@pytest.fixture
def environment(service: FakeService) -> dict[str, str]:
    """An environment with the address of the service."""
    return {
        **os.environ,
        "DDBQ_TARGET": service.address,
        "DDBQ_API_KEY": "ddbp_test",
        "TERM": "xterm",
        "COLUMNS": "100",
    }


@pytest.fixture
def run(environment: dict[str, str]) -> Run:
    """A function that runs the command with its output in pipes."""

    async def run(*arguments: str) -> Outcome:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return Outcome(await process.wait(), output.decode(), errors.decode())

    return run
