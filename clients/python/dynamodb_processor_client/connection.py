"""The client's channel: its lifetime, and unary calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, GetTableResponse
from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceStub
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.affinity import AffinityHeader
from dynamodb_processor_client.channel import ChannelOptions, channel_options
from dynamodb_processor_client.credentials import CallCredential
from dynamodb_processor_client.deadlines import Deadline
from dynamodb_processor_client.errors import DeadlineExceeded, Internal, typed_errors
from dynamodb_processor_client.options import Timeout, Unset
from dynamodb_processor_client.replicas import open_channels
from dynamodb_processor_client.resume_policy import ResumePolicy
from dynamodb_processor_client.trace_context import Metadata, trace_metadata
from dynamodb_processor_client.transport import (
    OPENED_ELSEWHERE,
    Channel,
    TokenProvider,
    owner,
)

_Response = TypeVar("_Response")


class Connection:
    """A channel that is open inside its `async with`; `QueryClient` adds the calls."""

    def __init__(
        self,
        target: str | Sequence[str],
        *,
        api_key: str | None = None,
        token: str | TokenProvider | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        timeout: float | None = 60.0,
        resume: ResumePolicy | None = None,
        options: ChannelOptions = (),
        affinity: bool = False,
    ) -> None:
        """Prepare a client; `async with` opens it, and so does `open`.

        Args:
            target: The address of the service in a form of gRPC: `host:port`, `dns:///name:port`,
                `ipv4:address:port,address:port`. With `affinity`, a list of the addresses of all
                replicas: equal reads then go to one of them, without a proxy.
            api_key: The key that is sent with every call.
            token: Instead of a key, the bearer token that is sent with every call, or a function
                that returns it (at once or as an awaitable). The function is called before each
                call, so that tokens can be renewed: it should keep a token until it is about to
                expire.
            credentials: For TLS, such as `tls_credentials()`; plain text if `None`.
            timeout: The default timeout of a call in seconds; `None` for no deadline.
            resume: The policy for resuming broken streams.
            options: gRPC channel options; they override the client's own.
            affinity: Whether reads carry the header `x-affinity-key`, by which a proxy can send
                equal reads to the same replica. The client then asks for the key of each table
                once.

        Raises:
            TypeError: An argument has the wrong type.
            ValueError: The key or the token has invalid characters, both are given, the target is
                not an address, or there are several without `affinity`.
        """
        self._credential = CallCredential(api_key, token)
        self._targets = check.targets(target, affinity=check.flag("affinity", affinity))
        self._credentials = check.instance("credentials", credentials, grpc.ChannelCredentials)
        self._timeout = check.seconds("timeout", timeout)
        check.instance("resume", resume, ResumePolicy)
        self._resume = resume or ResumePolicy()
        self._options = options
        self._affinity = AffinityHeader() if affinity else None
        self._channel: Channel | None = None
        self._owner: object = None

    async def open(self) -> Self:
        """Open the channel, which `aclose` closes; gRPC connects on the first call.

        For programs whose calls are not all in one `async with`, such as notebooks.
        """
        if self._channel is not None:
            raise RuntimeError("the client is open already: share it, or make another one")
        self._owner = owner()
        options = channel_options(self._options)
        clock = self._resume.clock
        self._channel = open_channels(self._targets, self._credentials, options, clock)
        return self

    async def aclose(self) -> None:
        """Close the channel and cancel the calls in progress."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def __aenter__(self) -> Self:
        """Open the channel; gRPC connects on the first call."""
        return await self.open()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel and cancel the calls in progress."""
        await self.aclose()

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise RuntimeError("the client is not open: use it inside `async with`, or call open()")
        if owner() != self._owner:
            raise RuntimeError(OPENED_ELSEWHERE)
        return self._channel

    def _resolve_timeout(self, timeout: Timeout) -> float | None:
        return self._timeout if isinstance(timeout, Unset) else check.seconds("timeout", timeout)

    async def _call_unary(
        self, method: Callable[..., Awaitable[_Response]], request: Any, seconds: float | None
    ) -> _Response:
        """Return the response of a unary method, or raise the typed error for its failure."""
        if seconds is not None and seconds <= 0:  # for gRPC 0 means no deadline
            raise DeadlineExceeded("the deadline passed", reason="DEADLINE_EXCEEDED")
        metadata = self._credential.fixed
        if metadata is None:
            metadata = await self._credential.metadata()
        metadata += trace_metadata()
        if self._affinity is not None:
            more, seconds = await self._affinity_metadata(self._affinity, request, seconds)
            metadata += more
        with typed_errors():
            response = await method(request, timeout=seconds, metadata=metadata)
        if response is None:  # gRPC could not parse the response.
            raise Internal("the service sent a malformed response", reason="BAD_ANSWER")
        return response

    async def _affinity_metadata(
        self, affinity: AffinityHeader, request: Message, seconds: float | None
    ) -> tuple[Metadata, float | None]:
        """Return the affinity header of a call, and the seconds that are left for the call."""
        deadline = Deadline(seconds, self._resume.clock)

        async def describe(table: str) -> GetTableResponse:
            method = CatalogServiceStub(self._open_channel()).GetTable
            return await self._call_unary(method, GetTableRequest(table=table), seconds)

        metadata = await affinity.metadata(request, describe)
        return metadata, deadline.remaining(0.0, "the key of the table was not read by then")
