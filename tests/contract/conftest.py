"""Fixtures of the contract tests: a table, and compared clients of the data plane.

The table is small, and is in DynamoDB Local and in memory.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from dynamodb_processor_server.cache.reader import cached_reader
from dynamodb_processor_server.catalog.config import TableConfig
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.table_describer import TableDescriber
from dynamodb_processor_server.telemetry.tracing.reads import traced_cached_reader
from tests.contract.compared_clients import Pair, local, open_pair
from tests.contract.facts import Ground
from tests.contract.readings import SCHEMA, make_items
from tests.contract.stores import Cache, DynamoDBStore, MemoryStore, Store
from tests.support.dynamodb import REGION, create_table, open_client, put_items
from tests.support.raw_http import RawServer, open_raw_server
from tests.support.recorded_spans import Recorder


@pytest.fixture(scope="session")
def dynamodb(dynamodb_local: str) -> Any:
    """A synchronous client of DynamoDB Local, which holds the table."""
    client = open_client(dynamodb_local)
    create_table(client, SCHEMA)
    put_items(client, SCHEMA.table, make_items())
    return client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def clients(dynamodb: Any, dynamodb_local: str) -> AsyncIterator[Clients]:
    """The service's own clients of DynamoDB Local; all tests share them, as they open slowly."""
    settings = ClientSettings(endpoint_url=dynamodb_local, region=REGION)
    async with Clients(settings) as opened:
        yield opened


@pytest.fixture(scope="session")
def backend(clients: Clients) -> Backend:
    """The service's own backend, which calls DynamoDB Local."""
    return Backend(clients)


@pytest.fixture(scope="session")
def make_ground(dynamodb: Any, backend: Backend) -> Callable[..., Ground]:
    """A function that makes a table of a schema and items, to read directly and by the service."""
    return partial(Ground, dynamodb, backend)


@pytest_asyncio.fixture(loop_scope="session", params=["dynamodb", "cached", "traced", "memory"])
async def store(
    request: pytest.FixtureRequest, backend: Backend, dynamodb: Any
) -> AsyncIterator[Store]:
    """The table behind each implementation in turn."""
    config = TableConfig(table=SCHEMA.table, allow_scan=True, sparse="allow")
    schema = await TableDescriber(backend).describe("readings", config)
    table = Table("readings", config, schema)
    if request.param == "memory":
        yield MemoryStore(table)
    else:
        traced = partial(traced_cached_reader, Recorder().spans)
        caches: dict[str, Cache] = {"cached": cached_reader, "traced": traced}
        yield DynamoDBStore(table, dynamodb, backend, caches.get(request.param))


@pytest_asyncio.fixture(loop_scope="session")
async def server() -> AsyncIterator[RawServer]:
    """A server without TLS."""
    async with open_raw_server() as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def compared() -> AsyncIterator[tuple[RawServer, Pair]]:
    """A server and both clients of it; clients take half a second to open."""
    async with open_raw_server() as opened, open_pair(local(opened)) as clients:
        yield opened, clients


@pytest.fixture
def pair(compared: tuple[RawServer, Pair]) -> Pair:
    """Both clients of the shared server."""
    return compared[1]


@pytest.fixture
def peer(compared: tuple[RawServer, Pair]) -> RawServer:
    """The shared server, which has received nothing yet."""
    compared[0].requests.clear()
    return compared[0]
