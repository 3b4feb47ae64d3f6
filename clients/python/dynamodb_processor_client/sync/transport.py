"""Channels, calls and pauses of the synchronous client, over gRPC's channels for threads.

The counterpart of `transport.py`, and the only module of this package that is not generated.
"""

from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Callable, Iterator
from threading import Event
from typing import Final, Protocol, TypeAlias

import grpc
from grpc import ChannelConnectivity

from dynamodb_processor.v1.query_service_pb2 import StreamQueryResponse
from dynamodb_processor_client.channel import ChannelOptions

Channel: TypeAlias = grpc.Channel
#: Returns the bearer token for the next call. It is called before each call, by the thread that
#: makes the call, so it should keep a token until it is about to expire.
TokenProvider: TypeAlias = Callable[[], str]

#: The exception that ends a wait for a message from outside: Ctrl-C, or a notebook's stop button.
Interrupted: Final = KeyboardInterrupt
#: The error for a client that is used where it was not opened.
OPENED_ELSEWHERE: Final = "the client was opened in another process: open one in each"
# Seconds within which the status of a stream must follow its last message.
_STATUS_WITHIN = 5.0


class StreamCall(Protocol):
    """A streaming call, as far as the client uses it."""

    def __next__(self) -> StreamQueryResponse:
        """Return the next message."""

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have a function called at the end; return False if the call has ended."""

    def cancel(self) -> object:
        """Cancel the call."""


def open_channel(
    target: str, credentials: grpc.ChannelCredentials | None, options: ChannelOptions
) -> Channel:
    """Return a channel to `target`, in plain text without `credentials`."""
    if credentials is None:
        return grpc.insecure_channel(target, options=options)
    return grpc.secure_channel(target, credentials, options=options)


def connection_failed(channel: Channel) -> Callable[[], bool]:
    """Begin to connect; return a function that tells whether that fails, until it succeeds."""
    states = deque([ChannelConnectivity.IDLE], maxlen=1)
    channel.subscribe(states.append, try_to_connect=True)
    return lambda: states[-1] is ChannelConnectivity.TRANSIENT_FAILURE


class MovingStream:
    """A streaming call that moves to the next replica until one has answered."""

    def __init__(
        self, calls: Iterator[StreamCall], moves_on: Callable[[grpc.RpcError], bool]
    ) -> None:
        """Begin the first of `calls`, and each next one after an error for which it `moves_on`."""
        self._calls = calls
        self._call = next(calls)
        self._moves_on = moves_on
        self._has_begun = False
        self._is_cancelled = False

    def __next__(self) -> StreamQueryResponse:
        """Return the next message."""
        while True:
            try:
                message = next(self._call)
            except grpc.RpcError as error:
                if self._has_begun or not self._moves_on(error):
                    raise
                following = next(self._calls, None)
                if following is None:
                    raise
                self._call = following
                if self._is_cancelled:  # by another thread, which knew the call before
                    following.cancel()
            else:
                self._has_begun = True
                return message

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Have a function called at the end; return False if the call has ended."""
        return self._call.add_callback(callback)

    def cancel(self) -> None:
        """Cancel the call."""
        self._is_cancelled = True
        self._call.cancel()


def owner() -> object:
    """Return what a channel belongs to: the process, since gRPC's threads do not survive a fork."""
    return os.getpid()


def read(call: StreamCall) -> StreamQueryResponse | None:
    """Return the next message of a stream; None at its end."""
    return next(call, None)


def read_status(call: StreamCall) -> None:
    """Wait for the status that follows the last message, for at most 5 seconds.

    Without it the server would see a cancellation.
    """
    ended = Event()
    if call.add_callback(ended.set):
        ended.wait(_STATUS_WITHIN)


def token_of(provider: TokenProvider) -> str:
    """Return the token that a provider gives for the next call.

    Raises:
        TypeError: The provider is a coroutine function, which needs an event loop.
    """
    token = provider()
    if inspect.isawaitable(token):
        if inspect.iscoroutine(token):
            token.close()
        raise TypeError(
            "token: this function returns an awaitable; the synchronous client needs one that "
            "returns the token, or use dynamodb_processor_client.QueryClient"
        )
    return token
