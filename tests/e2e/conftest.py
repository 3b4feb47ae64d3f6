"""Shared fixtures of the end-to-end tests: one server over tables with known contents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.support.channels import Caller, open_caller
from tests.support.dynamodb import open_client
from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, READER
from tests.support.events import load_events
from tests.support.processes import ServerProcess, served


@pytest.fixture(scope="session")
def events(dynamodb_local: str) -> str:
    """The endpoint URL of a DynamoDB Local that holds the events."""
    client = open_client(dynamodb_local)
    load_events(client, "e2e-events")
    load_events(client, "e2e-copies", 100)
    return dynamodb_local


@pytest.fixture(scope="session")
def service(events: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over the events."""
    directory = tmp_path_factory.mktemp("service")
    with served(CATALOG, KEYS, directory, endpoint_url=events, env=ENVIRONMENT) as server:
        yield server


@pytest.fixture
async def caller(service: ServerProcess) -> AsyncIterator[Caller]:
    """A caller that may read everything."""
    async with open_caller(service.address, READER.text) as opened:
        yield opened
