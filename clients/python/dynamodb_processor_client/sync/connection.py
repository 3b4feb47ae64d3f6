# Written by `make proto` from the asynchronous client's `connection.py`. Do not edit.
"""The client's channel: its lifetime, and unary calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from google.protobuf.message import Message

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, GetTableResponse
from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceStub
from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.channel import ChannelOptions, channel_options
from dynamodb_processor_client.errors import DeadlineExceeded, Internal, typed_errors
from dynamodb_processor_client.options import Timeout, Unset
from dynamodb_processor_client.sync.affinity import AffinityHeader
from dynamodb_processor_client.sync.credentials import CallCredential
from dynamodb_processor_client.sync.deadlines import Deadline
from dynamodb_processor_client.sync.replicas import open_channels
from dynamodb_processor_client.sync.resume_policy import ResumePolicy
from dynamodb_processor_client.sync.transport import (
    OPENED_ELSEWHERE,
    Channel,
    TokenProvider,
    owner,
)
from dynamodb_processor_client.trace_context import Metadata, trace_metadata

_Response = TypeVar("_Response")


class Connection:
    """A channel that is open inside its `with`; `QueryClient` adds the calls."""

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
        """Prepare a client; `with` opens it, and so does `open`.

        Args:
            target: The address of the service in a form of gRPC: `host:port`, `dns:///name:port`,
                `ipv4:address:port,address:port`. With `affinity`, a list of the addresses of all
                replicas: equal reads then go to one of them, without a proxy.
            api_key: The key that is sent with every call.
            token: Instead of a key, the bearer token that is sent with every call, or a function
                that returns it. The function is called before each
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

    def open(self) -> Self:
        """Open the channel, which `close` closes; gRPC connects on the first call.

        For programs whose calls are not all in one `with`, such as notebooks.
        """
        if self._channel is not None:
            raise RuntimeError("the client is open already: share it, or make another one")
        self._owner = owner()
        options = channel_options(self._options)
        clock = self._resume.clock
        self._channel = open_channels(self._targets, self._credentials, options, clock)
        return self

    def close(self) -> None:
        """Close the channel and cancel the calls in progress."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            channel.close()

    def __enter__(self) -> Self:
        """Open the channel; gRPC connects on the first call."""
        return self.open()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the channel and cancel the calls in progress."""
        self.close()

    def _open_channel(self) -> Channel:
        if self._channel is None:
            raise RuntimeError("the client is not open: use it inside `with`, or call open()")
        if owner() != self._owner:
            raise RuntimeError(OPENED_ELSEWHERE)
        return self._channel

    def _resolve_timeout(self, timeout: Timeout) -> float | None:
        return self._timeout if isinstance(timeout, Unset) else check.seconds("timeout", timeout)

    def _call_unary(
        self, method: Callable[..., _Response], request: Any, seconds: float | None
    ) -> _Response:
        """Return the response of a unary method, or raise the typed error for its failure."""
        if seconds is not None and seconds <= 0:  # for gRPC 0 means no deadline
            raise DeadlineExceeded("the deadline passed", reason="DEADLINE_EXCEEDED")
        metadata = self._credential.fixed
        if metadata is None:
            metadata = self._credential.metadata()
        metadata += trace_metadata()
        if self._affinity is not None:
            more, seconds = self._affinity_metadata(self._affinity, request, seconds)
            metadata += more
        with typed_errors():
            response = method(request, timeout=seconds, metadata=metadata)
        if response is None:  # gRPC could not parse the response.
            raise Internal("the service sent a malformed response", reason="BAD_ANSWER")
        return response

    def _affinity_metadata(
        self, affinity: AffinityHeader, request: Message, seconds: float | None
    ) -> tuple[Metadata, float | None]:
        """Return the affinity header of a call, and the seconds that are left for the call."""
        deadline = Deadline(seconds, self._resume.clock)

        def describe(table: str) -> GetTableResponse:
            method = CatalogServiceStub(self._open_channel()).GetTable
            return self._call_unary(method, GetTableRequest(table=table), seconds)

        metadata = affinity.metadata(request, describe)
        return metadata, deadline.remaining(0.0, "the key of the table was not read by then")
