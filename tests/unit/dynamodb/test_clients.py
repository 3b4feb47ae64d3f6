"""AWS clients: one for each region and role, shared by concurrent callers, closed at the end."""

from __future__ import annotations

import asyncio

from dynamodb_processor_server.dynamodb.clients import Clients, ClientSettings
from dynamodb_processor_server.dynamodb.response_parser import CheckedResponseParserFactory

SETTINGS = ClientSettings(endpoint_url="http://127.0.0.1:1", region="eu-west-1", pool_size=7)


async def test_one_client_serves_everyone() -> None:
    """A client for each request would leak connections."""
    async with Clients(SETTINGS) as clients:
        first, *others = await asyncio.gather(*(clients.client() for _ in range(10)))
        assert all(other is first for other in others)
        elsewhere = await clients.client("us-east-1")
        assert elsewhere is not first
        assert await clients.client("us-east-1") is elsewhere
        assert first.meta.region_name == "eu-west-1"
        assert elsewhere.meta.region_name == "us-east-1"


async def test_clients_have_the_configured_settings() -> None:
    """They have no retries of their own, explicit timeouts, and a pool of the configured size."""
    async with Clients(SETTINGS) as clients:
        client = await clients.client()
        config = client.meta.config
        assert config.retries == {"mode": "standard", "total_max_attempts": 1}
        assert config.max_pool_connections == 7
        assert (config.connect_timeout, config.read_timeout) == (3.0, 5.0)
        parsers = client._endpoint._response_parser_factory
        assert isinstance(parsers, CheckedResponseParserFactory)
