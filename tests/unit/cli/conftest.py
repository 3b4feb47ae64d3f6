"""The table that tests of the commands describe, and the logs that commands configure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
import structlog

from dynamodb_processor_server.telemetry.logs import close_logs
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client

_INDEX = Index("by_kind", local=False, partition=("kind",), sort=())


@pytest.fixture(autouse=True)
def _logs_of_the_process() -> Iterator[None]:
    """Restore the logs that a command configures for its process."""
    before = structlog.get_config()
    yield
    close_logs()
    structlog.configure(**before)


@pytest.fixture
def table(dynamodb_local: str) -> Iterator[str]:
    """The name of an empty table with an index."""
    name = f"main-{uuid.uuid4().hex[:8]}"
    types = {"user_id": "S", "at": "N", "kind": "S"}
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "user_id", "at", (_INDEX,), types))
    yield name
    client.delete_table(TableName=name)
    client.close()
