"""DynamoDB clients: one for each source, however many ask at once, all closed at the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dynamodb_processor_server.reading.clients import Clients, ClientSettings
from dynamodb_processor_server.reading.responses import ItemResponseParserFactory
from tests.unit.reading.warped_time import warped

SETTINGS = ClientSettings(endpoint_url="http://127.0.0.1:1", region="eu-west-1", pool_size=7)


async def test_one_client_serves_everyone() -> None:
    """A client per request is the classic leak."""
    async with Clients(SETTINGS) as clients:
        first, *others = await asyncio.gather(*(clients.client() for _ in range(10)))
        assert all(other is first for other in others)
        elsewhere = await clients.client("us-east-1")
        assert elsewhere is not first
        assert await clients.client("us-east-1") is elsewhere
        assert first.meta.region_name == "eu-west-1"
        assert elsewhere.meta.region_name == "us-east-1"


async def test_clients_are_set_up_as_said() -> None:
    """No retries of its own, explicit timeouts, a pool of the right size."""
    async with Clients(SETTINGS) as clients:
        client = await clients.client()
        config = client.meta.config
        assert config.retries == {"mode": "standard", "total_max_attempts": 1}
        assert config.max_pool_connections == 7
        assert (config.connect_timeout, config.read_timeout) == (3.0, 5.0)
        parsers = client._endpoint._response_parser_factory
        assert isinstance(parsers, ItemResponseParserFactory)


@warped
async def test_expired_credentials_are_looked_for_anew() -> None:
    """Once, however many calls notice at a time, and not again before a while has passed."""
    async with Clients(SETTINGS) as clients:
        client: Any = await clients.client()

        async def key() -> str:
            credentials = await client._request_signer._credentials.get_frozen_credentials()
            return str(credentials.access_key)

        with pytest.MonkeyPatch.context() as patch:
            before = await key()
            patch.setenv("AWS_ACCESS_KEY_ID", "second")
            assert await key() == before
            await asyncio.gather(*(clients.renew_credentials() for _ in range(10)))
            assert await key() == "second"
            patch.setenv("AWS_ACCESS_KEY_ID", "third")
            await clients.renew_credentials()
            assert await key() == "second"
            await asyncio.sleep(5.0)
            await clients.renew_credentials()
            assert await key() == "third"
