"""DynamoDB clients: one for each region and role, opened once and kept for the life of the process.

A client per request is the classic leak, and the default pool of 10 connections the classic queue.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

import aioboto3
import aiobotocore.session
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from botocore.config import Config

from dynamodb_processor_server.reading.responses import ItemResponseParserFactory

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

_Source = tuple[str | None, str | None]  # region, role


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to reach DynamoDB.

    `endpoint_url` and `region` None mean AWS's own defaults. Timeouts are in seconds and bound one
    attempt; the caller's deadline bounds all of them. `attempts` counts the first one.
    """

    endpoint_url: str | None = None
    region: str | None = None
    pool_size: int = 100
    connect_timeout: float = 1.0
    read_timeout: float = 5.0
    attempts: int = 3


class Clients:
    """Opens clients on first use and closes them all at the end of its `async with`."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._clients: dict[_Source, DynamoDBClient] = {}
        self._opening = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def client(
        self, region: str | None = None, role_arn: str | None = None
    ) -> DynamoDBClient:
        """Return the client for a region and a role; None means the process's own."""
        source = (region, role_arn)
        client = self._clients.get(source)
        if client is None:
            async with self._opening:
                client = self._clients.get(source) or await self._open(source)
                self._clients[source] = client
        return client

    async def _open(self, source: _Source) -> DynamoDBClient:
        region, role = source
        settings = self._settings
        session = aiobotocore.session.get_session()
        if role is not None:
            # There is no public way to set these.
            session._credentials = await _assumed(session, role)  # noqa: SLF001
        # The fast parser is for DynamoDB alone; STS, which answers in XML, never sees this session.
        session.register_component("response_parser_factory", ItemResponseParserFactory())
        context = aioboto3.Session(botocore_session=session).client(
            "dynamodb",
            region_name=region or settings.region,
            endpoint_url=settings.endpoint_url,
            config=_config(settings),
        )
        client: DynamoDBClient = await self._stack.enter_async_context(context)
        return client


_ROLE_SESSION: Final = "dynamodb-processor"


def _config(settings: ClientSettings) -> Config:
    return Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.pool_size,
        # One owner of retries, its attempts said: the default (legacy) mode makes 10 over 26 s.
        retries={"mode": "standard", "total_max_attempts": settings.attempts},
        # Requests are built by the planner and need no check against the service model.
        parameter_validation=False,
        tcp_keepalive=True,
    )


async def _assumed(session: Any, role_arn: str) -> AioDeferredRefreshableCredentials:
    """Return credentials of a role, taken on with the session's own and renewed as they expire."""
    fetcher = AioAssumeRoleCredentialFetcher(
        client_creator=session.create_client,
        source_credentials=await session.get_credentials(),
        role_arn=role_arn,
        extra_args={"RoleSessionName": _ROLE_SESSION},
    )
    return AioDeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
