"""The service as tests call it, with a record of every error that was seen.

Every failure of a `Caller` is kept in `SEEN`, so that the end of the session can say that no
response was UNKNOWN and that none revealed internal details.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceStub
from dynamodb_processor.v1.query_service_pb2 import (
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.support.lengths import PATIENCE

_DETAILS: Final = "grpc-status-details-bin"
_INTERNAL: Final = re.compile(
    r"Traceback|File \"|site-packages|\.py\b|<class|object at 0x"
    r"|botocore|boto3|aiohttp|grpc\._|asyncio"
    r"|dynamodb_processor_server|https?://|127\.0\.0\.1|localhost"
    r"|[A-Z]\w+(?:Error|Exception)\b|#n\d|:v\d|internal:|arn:aws",
)


@dataclass(frozen=True, slots=True)
class SeenError:
    """An error as a caller saw it. `own` is whether the server sent it, with details."""

    method: str
    code: grpc.StatusCode
    text: str
    own: bool

    @property
    def tells_insides(self) -> bool:
        """Return whether the text has details that belong into the operator's log alone."""
        return self.own and _INTERNAL.search(self.text) is not None


SEEN: Final[list[SeenError]] = []


def status_of(error: grpc.aio.AioRpcError) -> Status:
    """Return the `google.rpc.Status` that came with an error; empty when none did."""
    status = Status()
    for name, value in error.trailing_metadata() or ():
        if name == _DETAILS and isinstance(value, bytes):
            status.ParseFromString(value)
    return status


def error_info(error: grpc.aio.AioRpcError) -> ErrorInfo:
    """Return the `ErrorInfo` that came with an error."""
    info = ErrorInfo()
    assert any(each.Unpack(info) for each in status_of(error).details), error
    return info


def violated_fields(error: grpc.aio.AioRpcError) -> list[str]:
    """Return the fields that an error's `BadRequest` names."""
    bad = BadRequest()
    assert any(each.Unpack(bad) for each in status_of(error).details), error
    return [violation.field for violation in bad.field_violations]


@contextmanager
def recording(method: str) -> Iterator[None]:
    """Keep the error with which the block ends, if it does, and let it through."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        remember(method, error)
        raise


def remember(method: str, error: grpc.aio.AioRpcError) -> None:
    """Keep an error for the end of the session."""
    status = status_of(error)
    text = f"{error.details()} {status.message} {list(status.details)}"
    SEEN.append(SeenError(method, error.code(), text, own=bool(status.details)))


class Caller:
    """A caller of the service with its API key; None calls without one."""

    def __init__(self, channel: grpc.aio.Channel, api_key: str | None) -> None:
        self.channel = channel
        self.catalog = CatalogServiceStub(channel)
        self.metadata = [] if api_key is None else [("x-api-key", api_key)]
        self._queries = QueryServiceStub(channel)

    def using(self, api_key: str | None) -> Caller:
        """Return a caller with another key on the same channel."""
        return Caller(self.channel, api_key)

    async def query(
        self, request: QueryRequest, *, deadline: float | None = PATIENCE
    ) -> QueryResponse:
        """Return a page. `deadline` is in seconds from now."""
        with recording("Query"):
            return await self._queries.Query(request, timeout=deadline, metadata=self.metadata)

    async def stream(
        self, request: StreamQueryRequest, *, deadline: float | None = PATIENCE
    ) -> AsyncGenerator[StreamQueryResponse, None]:
        """Yield the messages of a stream, which is cancelled when the generator is closed."""
        with recording("StreamQuery"):
            call = self._queries.StreamQuery(request, timeout=deadline, metadata=self.metadata)
            try:
                async for message in call:
                    yield message
            finally:
                call.cancel()

    async def raw(self, method: str, request: bytes, *, deadline: float = PATIENCE) -> bytes:
        """Call a unary method of the query service with hand-made bytes."""
        with recording(method):
            call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(
                f"/dynamodb_processor.v1.QueryService/{method}"
            )
            return await call(request, timeout=deadline, metadata=self.metadata)


@asynccontextmanager
async def open_caller(address: str, api_key: str | None) -> AsyncIterator[Caller]:
    """Connect to a server for the time of the block."""
    options = [("grpc.max_receive_message_length", 16 * 1024 * 1024), ("grpc.enable_retries", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield Caller(channel, api_key)
