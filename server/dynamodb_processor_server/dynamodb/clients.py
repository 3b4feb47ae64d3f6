"""AWS clients: one for each region and role, opened once and kept for the life of the process.

A client per request leaks connections, and the default pool of 10 connections queues requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

import aioboto3
import aiobotocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from dynamodb_processor_server.dynamodb.credentials import Credentials
from dynamodb_processor_server.dynamodb.data_plane import DataPlaneClient, Operation
from dynamodb_processor_server.dynamodb.item_responses import parse_items
from dynamodb_processor_server.dynamodb.response_parser import CheckedResponseParserFactory
from dynamodb_processor_server.dynamodb.verified_sessions import verified_session
from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.runtime.byte_budget import ByteBudget

# Bytes of large responses that are received at once.
_MAX_RECEIVED: Final = 128 * 1024 * 1024

_Source = tuple[str | None, str | None]  # region, role


@dataclass(frozen=True, slots=True)
class Service:
    """An AWS service, by its name in botocore, and its operations that read data.

    The operations have the names of the methods of boto3's clients.
    """

    name: str
    operations: Mapping[str, Operation]


DYNAMODB: Final = Service(
    "dynamodb",
    {
        "query": Operation("Query", parse_items, required="ScannedCount"),
        "scan": Operation("Scan", parse_items, required="ScannedCount"),
        "get_item": Operation("GetItem", parse_items),
        "batch_get_item": Operation("BatchGetItem", parse_items, required="Responses"),
    },
)


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """How to reach a service.

    `endpoint_url` and `region` None mean AWS's own defaults. Timeouts are in seconds.
    """

    endpoint_url: str | None = None
    region: str | None = None
    pool_size: int = 100
    # A burst of calls opens its connections on one busy loop, where one second can pass.
    connect_timeout: float = 3.0
    read_timeout: float = 5.0


class Clients:
    """Opens a service's clients on first use and closes them at the end of its `async with`."""

    def __init__(self, settings: ClientSettings, service: Service = DYNAMODB) -> None:
        self._settings = settings
        self._service = service
        self._stack = AsyncExitStack()
        self._clients: dict[_Source, Any] = {}
        self._credentials: dict[_Source, Credentials] = {}
        self._received = ByteBudget(_MAX_RECEIVED)
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def client(self, region: str | None = None, role_arn: str | None = None) -> Any:
        """Return the client for a region and a role; None means the process's own."""
        source = (region, role_arn)
        client = self._clients.get(source)
        if client is None:
            async with self._lock:
                client = self._clients.get(source) or await self._open(source)
                self._clients[source] = client
        return client

    async def endpoint(self, region: str | None = None, role_arn: str | None = None) -> str:
        """Return the region and endpoint of a client, empty where no client can be made."""
        try:
            meta = (await self.client(region, role_arn)).meta
        except (BotoCoreError, ValueError):  # such as a region that is not configured
            return ""
        return f"{meta.region_name} at {meta.endpoint_url}"

    def renew_credentials(self, region: str | None = None, role_arn: str | None = None) -> None:
        """Load credentials again for the next request: AWS says that the client's have expired.

        botocore renews most credentials before they expire. This is for sources that it reads once,
        such as a file that is later rewritten, and for a clock that is wrong.
        """
        self._credentials[region, role_arn].renew()

    async def _open(self, source: _Source) -> Any:
        region, role = source
        settings = self._settings
        credentials = self._credentials[source] = Credentials(role, region or settings.region)
        session = verified_session()
        # There is no public way to set these.
        session._credentials = credentials  # noqa: SLF001
        session.register_component("response_parser_factory", CheckedResponseParserFactory())
        context = aioboto3.Session(botocore_session=session).client(
            self._service.name,
            region_name=region or settings.region,
            endpoint_url=settings.endpoint_url,
            config=_config(settings),
        )
        client = await self._stack.enter_async_context(context)
        return DataPlaneClient(client, credentials, self._service.operations, self._received)


def default_region() -> str | None:
    """Return the region that botocore finds in `AWS_DEFAULT_REGION` or in the AWS profile, if any.

    Raises ConfigurationError for a profile that does not exist or a file that cannot be read.
    """
    session = aiobotocore.session.get_session()
    try:
        region: str | None = session.get_config_variable("region")
    except BotoCoreError as error:
        raise ConfigurationError(f"AWS configuration: {error}") from None
    return region


def _config(settings: ClientSettings) -> Config:
    return Config(
        connect_timeout=settings.connect_timeout,
        read_timeout=settings.read_timeout,
        max_pool_connections=settings.pool_size,
        # Only `Backend` and the stream's consumer retry: the default (legacy) mode would make 10
        # attempts in 26 s.
        retries={"mode": "standard", "total_max_attempts": 1},
        # This server builds every request; they need no check against the service model.
        parameter_validation=False,
        tcp_keepalive=True,
    )
