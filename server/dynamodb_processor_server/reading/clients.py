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

    `endpoint_url` and `region` None mean AWS's own defaults. Timeouts are in seconds.
    """

    endpoint_url: str | None = None
    region: str | None = None
    pool_size: int = 100
    # A burst of calls opens its connections on one busy loop, where one second can pass.
    connect_timeout: float = 3.0
    read_timeout: float = 5.0


class Clients:
    """Opens clients on first use and closes them all at the end of its `async with`."""

    def __init__(self, settings: ClientSettings) -> None:
        self._settings = settings
        self._stack = AsyncExitStack()
        self._clients: dict[_Source, DynamoDBClient] = {}
        self._opening = asyncio.Lock()
        self._renewed: dict[_Source, float] = {}

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

    async def renew_credentials(
        self, region: str | None = None, role_arn: str | None = None
    ) -> None:
        """Look for credentials anew, wherever they come from: the client's are said to be expired.

        Most are renewed ahead of their end. This is for what botocore reads once, such as a file
        that somebody writes anew, and for a clock that is wrong. However many calls notice, one
        looks, and not again for a while.
        """
        source = (region, role_arn)
        client = await self.client(region, role_arn)
        async with self._opening:
            now = asyncio.get_running_loop().time()
            if now < self._renewed.get(source, float("-inf")) + _RENEWAL_SECONDS:
                return
            self._renewed[source] = now
            session = await open_session(role_arn)
            # There is no public way: clients are said to live as long as their credentials.
            signer: Any = client._request_signer  # noqa: SLF001
            signer._credentials = await session.get_credentials()  # noqa: SLF001

    async def _open(self, source: _Source) -> DynamoDBClient:
        region, role = source
        settings = self._settings
        session = await open_session(role)
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
_RENEWAL_SECONDS: Final = 5.0


async def open_session(role_arn: str | None) -> Any:
    """Return a session of botocore's, with the credentials of a role if one is named."""
    session = aiobotocore.session.get_session()
    if role_arn is not None:
        # There is no public way to set these.
        session._credentials = await _assumed(session, role_arn)  # noqa: SLF001
    return session


def _config(settings: ClientSettings) -> Config:
    return Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.pool_size,
        # `Backend` is the one owner of retries: the default (legacy) mode would make 10 over 26 s.
        retries={"mode": "standard", "total_max_attempts": 1},
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
