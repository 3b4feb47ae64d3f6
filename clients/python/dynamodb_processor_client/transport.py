"""Channels, calls and pauses of the asynchronous client, over `grpc.aio`.

Only this module and `sync/transport.py`, its counterpart for threads, know which of the two they
serve. The other modules are written once: `.ci/sync_client.py` makes the synchronous ones.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import grpc
from grpc import ChannelConnectivity
from grpc.aio import AioRpcError

from dynamodb_processor.v1.query_service_pb2 import StreamQueryRequest, StreamQueryResponse
from dynamodb_processor_client.channel import ChannelOptions

if TYPE_CHECKING:
    from grpc.aio import UnaryStreamCall

    StreamCall: TypeAlias = UnaryStreamCall[StreamQueryRequest, StreamQueryResponse]

Channel: TypeAlias = grpc.aio.Channel
#: Returns the bearer token for the next call, at once or as an awaitable. It is called before each
#: call, so it should keep a token until it is about to expire.
TokenProvider: TypeAlias = Callable[[], str | Awaitable[str]]

#: The exception that ends a wait for a message from outside.
Interrupted: Final = asyncio.CancelledError
#: The error for a client that is used where it was not opened.
OPENED_ELSEWHERE: Final = "the client was opened on another event loop: open one on each"
# Seconds within which the status of a stream must follow its last message.
_STATUS_WITHIN = 5.0


def open_channel(
    target: str, credentials: grpc.ChannelCredentials | None, options: ChannelOptions
) -> Channel:
    """Return a channel to `target`, in plain text without `credentials`."""
    if credentials is None:
        return grpc.aio.insecure_channel(target, options=options)
    return grpc.aio.secure_channel(target, credentials, options=options)


def connection_failed(channel: Channel) -> Callable[[], bool]:
    """Begin to connect; return a function that tells whether that fails, until it succeeds."""

    def failed() -> bool:
        return channel.get_state(try_to_connect=True) is ChannelConnectivity.TRANSIENT_FAILURE

    failed()
    return failed


class MovingStream:
    """A streaming call that moves to the next replica until one has answered."""

    def __init__(self, calls: Iterator[Any], moves_on: Callable[[grpc.RpcError], bool]) -> None:
        """Begin the first of `calls`, and each next one after an error for which it `moves_on`."""
        self._calls = calls
        self._call = next(calls)
        self._moves_on = moves_on
        self._has_begun = False

    async def read(self) -> Any:
        """Return the next message, or what gRPC returns at the end."""
        while True:
            try:
                message = await self._call.read()
            except grpc.RpcError as error:
                if self._has_begun or not self._moves_on(error):
                    raise
                following = next(self._calls, None)
                if following is None:
                    raise
                self._call = following
            else:
                self._has_begun = True
                return message

    def cancel(self) -> None:
        """Cancel the call."""
        self._call.cancel()


def owner() -> object:
    """Return what a channel belongs to: the running event loop; None outside of one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def read(call: StreamCall) -> StreamQueryResponse | None:
    """Return the next message of a stream; None at its end, and for one that cannot be parsed."""
    message = await call.read()
    return message if isinstance(message, StreamQueryResponse) else None


async def read_status(call: StreamCall) -> None:
    """Wait for the status that follows the last message, for at most 5 seconds.

    Without it the server would see a cancellation.
    """
    with suppress(AioRpcError, TimeoutError):
        await asyncio.wait_for(call.read(), _STATUS_WITHIN)


async def token_of(provider: TokenProvider) -> str:
    """Return the token that a provider gives for the next call."""
    token = provider()
    return await token if inspect.isawaitable(token) else token
