"""Fixtures: a running fake service, and a clock that only `sleep` advances."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from dynamodb_processor_client import QueryClient, ResumePolicy
from tests.support.fake_server import running
from tests.support.fake_service import FakeService, numbered
from tests.support.threaded_client import FACTORIES, ClientFactory
from tests.unit.client.commands import Outcome, Run, run_with
from tests.unit.client.fake_time import FakeTime


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


@pytest.fixture(params=list(FACTORIES))
def make_client(request: pytest.FixtureRequest) -> ClientFactory:
    """What makes a client: the asynchronous one, then the synchronous one in threads."""
    name: str = request.param
    return FACTORIES[name]


@pytest.fixture
async def client(
    make_client: ClientFactory, service: FakeService, time: FakeTime
) -> AsyncIterator[QueryClient]:
    """A client of the service that resumes at once, without retries by the channel."""
    policy = ResumePolicy(sleep=time.sleep, uniform=lambda: 0.5, clock=time.read)
    async with make_client(
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
        return await run_with(environment, *arguments)

    return run
