"""Fixtures of a running service and of the lines that it logs."""

from __future__ import annotations

import sys
import uuid
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
import structlog

from dynamodb_processor_server.telemetry.logs import configure_logs
from tests.rpc.data import COUNTS, NOTE, ULRIKE, VIKTOR, event, events_catalog, events_schema
from tests.rpc.logged import Logged
from tests.rpc.traced import Traced
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.otlp import open_collector
from tests.support.running import Service, make_key, open_service


@pytest.fixture(scope="session")
def events(dynamodb_local: str) -> str:
    """The name of a table of events in DynamoDB."""
    table = f"rpc-events-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    try:
        create_table(client, events_schema(table))
        put_items(
            client, table, (event(user, at) for user, n in COUNTS.items() for at in range(1, n + 1))
        )
    finally:
        client.close()
    return table


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    events: str,
) -> AsyncIterator[Service]:
    """A server of the events, for a whole file of tests.

    Its keys are the file's `KEYS`. Without them they are "reports" and "other", which may read
    everything, and "narrow", which may not.
    """
    keys = getattr(request.module, "KEYS", None) or [
        make_key("reports"),
        make_key("other"),
        make_key("narrow", tables=["narrow", "gone-*"]),
    ]
    directory = tmp_path_factory.mktemp("service")
    async with open_service(directory, dynamodb_local, events_catalog(events), keys) as running:
        yield running


@pytest.fixture(scope="module", autouse=True)
def log_output() -> Iterator[Logged]:
    """A file's collector of all lines that its tests and servers log."""
    output = Logged()
    before = structlog.get_config()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", output)
        configure_logs("json", "DEBUG")
    yield output
    structlog.configure(**before)


@pytest.fixture(autouse=True)
def logged(log_output: Logged) -> Iterator[Logged]:
    """The lines logged during the test; the test fails if they contain a secret.

    Secrets are the sample's values and any that a test adds.
    """
    log_output.clear()
    log_output.secrets = {ULRIKE, VIKTOR, NOTE, "ddbp_"}
    yield log_output
    text = log_output.text
    assert not [secret for secret in log_output.secrets if secret in text]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traced_service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Traced]:
    """A server of the events whose calls are traced, for a whole file of tests."""
    directory = tmp_path_factory.mktemp("traced")
    with open_collector() as collector, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        async with open_service(
            directory,
            dynamodb_local,
            events_catalog(events),
            metrics_listen="127.0.0.1:0",
            tracing="otlp",
            tracing_endpoint=collector.url,
        ) as running:
            yield Traced(running, collector)


@pytest.fixture
def traced(traced_service: Traced) -> Traced:
    """The server whose calls are traced, with an empty collector."""
    traced_service.collector.clear()
    return traced_service
