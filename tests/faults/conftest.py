"""A server whose connection to DynamoDB fails on demand."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
import uvloop

from dynamodb_processor_server.telemetry.logs import configure_logs
from tests.faults.load import event, events_items, events_schema
from tests.faults.proxy import Proxy, open_proxy
from tests.faults.stub import Act, Stub, open_stub
from tests.rpc.logged import Logged
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import at_length
from tests.support.running import Service, open_service
from tests.support.scraping import metric


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run these tests on the event loop of the servers, where connections fail as in production."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="module", autouse=True)
def logged() -> Iterator[Logged]:
    """Log as in production: tracebacks drawn for a terminal would block the loop for too long."""
    before, output = structlog.get_config(), Logged()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", output)
        configure_logs("json", "INFO")
    yield output
    structlog.configure(**before)


@pytest.fixture(scope="session")
def table(dynamodb_local: str) -> str:
    """The name of a table of events."""
    name = f"faults-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    try:
        create_table(client, events_schema(name))
        put_items(client, name, events_items())
    finally:
        client.close()
    return name


@pytest.fixture(scope="module")
def write(dynamodb_local: str, table: str) -> Iterator[Callable[[str, int], None]]:
    """A function that puts one event of a user."""
    client: Any = open_client(dynamodb_local)
    yield lambda user, seq: client.put_item(TableName=table, Item=event(user, seq))
    client.close()


@dataclass(frozen=True, slots=True)
class Ground:
    """A server; the proxy before it and the stub before DynamoDB, in the order of its requests."""

    service: Service
    proxy: Proxy
    stub: Stub

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        return await metric(self.service, name, **labels)


@asynccontextmanager
async def open_ground(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    config: Mapping[str, Any] | None = None,
    acts: Mapping[str, Act] | None = None,
    **settings: Any,
) -> AsyncIterator[Ground]:
    """Start a server with a proxy and a stub between it and DynamoDB Local, without faults yet.

    `config` is the table's entry in the catalog besides its name, `acts` are the stub's.
    """
    async with (
        open_stub(dynamodb_local, acts) as stub,
        open_proxy("127.0.0.1", stub.port) as proxy,
        open_service(
            tmp_path,
            f"http://127.0.0.1:{proxy.port}",
            {"tables": {"events": {"table": table, **(config or {})}}},
            metrics_listen="127.0.0.1:0",
            **settings,
        ) as service,
    ):
        yield Ground(service, proxy, stub)


@pytest_asyncio.fixture
async def ground(
    request: pytest.FixtureRequest, tmp_path: Path, dynamodb_local: str, table: str
) -> AsyncIterator[Ground]:
    """A server with short timeouts, in full runs.

    In short runs a slow machine must not reach them, unless the parameter gives the seconds after
    which a test needs them to expire.
    """
    short: float = getattr(request, "param", 25.0)
    async with open_ground(
        tmp_path,
        dynamodb_local,
        table,
        backend_connect_timeout=at_length(short, 0.2),
        backend_read_timeout=at_length(short, 0.5),
        breaker_open_seconds=0.3,
    ) as opened:
        yield opened
