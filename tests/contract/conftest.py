"""What the contract tests read: one small table, in DynamoDB Local and in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from dynamodb_processor_server.reading.clients import Clients, ClientSettings
from tests.contract.readings import SCHEMA, make_items
from tests.support.dynamodb import REGION, create_table, open_client, put_items


@pytest.fixture(scope="session")
def dynamodb(dynamodb_local: str) -> Any:
    """A synchronous client of DynamoDB Local, which holds the table."""
    client = open_client(dynamodb_local)
    create_table(client, SCHEMA)
    put_items(client, SCHEMA.table, make_items())
    return client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def clients(dynamodb: Any, dynamodb_local: str) -> AsyncIterator[Clients]:
    """The service's own clients of DynamoDB Local: they take a while to open, so all share them."""
    settings = ClientSettings(endpoint_url=dynamodb_local, region=REGION)
    async with Clients(settings) as opened:
        yield opened
