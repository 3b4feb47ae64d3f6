"""Receives requests in a bounded time, and a bounded number of them at once.

As soon as the server asks for a request, gRPC lets the client send it up to the maximum size, and
holds the part that has arrived until the rest arrives. Handlers are therefore registered as if
requests were streams: the hooks run first, and then this module asks gRPC for the message.

The wait for a message is never cancelled here, because gRPC writes the message into memory that
belongs to the waiting coroutine. A call is given up by sending its status, which ends the wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from types import CoroutineType
from typing import Any, Final, TypeVar

import grpc

from dynamodb_processor_server.errors import InvalidRequest, Overloaded
from dynamodb_processor_server.limits.admission import Admission
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.encode.status import grpc_status, rpc_error_of

_MAX_RECEIVING: Final = 64  # requests of authenticated callers that are received at once
_MAX_QUEUED: Final = 100_000  # calls are bounded elsewhere
_QUEUE_SECONDS: Final = 5.0  # that one of them waits for admission
_MAX_UNAUTHENTICATED: Final = 32  # requests of other callers that are received at once
_CHECK_SECONDS: Final = 0.5  # between checks for requests that take too long
_CLOSE_SECONDS: Final = 2.0  # for a client to read the status of its call that was given up
_RETRY_AFTER: Final = 1.0  # seconds


Request = TypeVar("Request")


class RequestReceiver:
    """Receives the requests of calls whose hooks have started.

    At most 64 requests of authenticated callers are received at once, and no principal has more
    than seven eighths of them. Of other callers (health, reflection), at most 32: one more request
    ends the oldest one, because such requests are small and arrive at once.
    """

    def __init__(
        self,
        timeout: float = 10.0,
        close_connections: Callable[[Collection[str]], None] = lambda _: None,
    ) -> None:
        """Create a receiver.

        Args:
            timeout: Seconds in which a request must arrive completely.
            close_connections: Closes the connections of peers that do not read their status either.
        """
        self.given_up = 0
        self._timeout = timeout
        self._close_connections = close_connections
        self._admission = Admission(
            _MAX_RECEIVING, _MAX_QUEUED, wait=_QUEUE_SECONDS, retry_after=_RETRY_AFTER
        )
        # Calls whose requests are not complete, with the time when each is due; and the times when
        # overdue calls were given up. In seconds of the clock.
        self._authenticated: dict[Call, float] = {}
        self._unauthenticated: dict[Call, float] = {}
        self._given_up: dict[Call, float] = {}
        self._next_check: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """The number of requests that are not complete."""
        return len(self._authenticated) + len(self._unauthenticated)

    async def receive(
        self, decode: Callable[[bytes], Request | CoroutineType[Any, Any, Request]], call: Call
    ) -> Request:
        """Return the one request of a call, decoded.

        `decode` returns a coroutine for a request that is decoded beside the event loop. Raises
        Overloaded where too many others are being received, InvalidRequest if the call has no
        request, and any exception of `decode`.
        """
        principal = call.principal
        if principal is None:
            data = await self._wait(self._unauthenticated, call, self._timeout)
        else:
            name, pending = principal.name, self._authenticated
            # Most calls are admitted at once, and then need no coroutine for the wait.
            if not self._admission.try_enter(name):
                await self._admission.enter(name)
            pending[call] = time.monotonic() + self._timeout
            if self._next_check is None:
                self._schedule_check()
            try:  # as `_wait` does, without its coroutine
                data = await call.context.read()
            finally:
                del pending[call]
                self._admission.leave(name)
        if data is grpc.aio.EOF:
            # gRPC also reports a disconnected caller this way, a little before it ends the call.
            await asyncio.sleep(_CHECK_SECONDS)
            raise InvalidRequest.of("request", "is missing: send one message")
        request = decode(data)
        return await request if isinstance(request, CoroutineType) else request

    async def next(self, call: Call) -> bytes | None:
        """Return the next request of a stream, without a time bound; None at its end."""
        data = await self._wait(self._unauthenticated, call, float("inf"))
        return None if data is grpc.aio.EOF else data

    async def _wait(self, pending: dict[Call, float], call: Call, seconds: float) -> Any:
        """Return the next message that gRPC receives for a call: bytes, or its end marker."""
        pending[call] = time.monotonic() + seconds
        if len(self._unauthenticated) > _MAX_UNAUTHENTICATED:
            self._drop_oldest()
        if self._next_check is None:
            self._schedule_check()
        try:
            return await call.context.read()
        finally:
            del pending[call]

    def _drop_oldest(self) -> None:
        pending = [call for call in self._unauthenticated if call not in self._given_up]
        for call in pending[: max(0, len(pending) - _MAX_UNAUTHENTICATED)]:
            self._give_up(call)

    def _schedule_check(self) -> None:
        self._next_check = asyncio.get_running_loop().call_later(
            _CHECK_SECONDS, self._check_overdue
        )

    def _check_overdue(self) -> None:
        """Give up overdue calls, and close the connections of clients that read no status."""
        self._next_check = None
        now = time.monotonic()
        silent = set()
        given_up, self._given_up = self._given_up, {}
        for call, due in (*self._authenticated.items(), *self._unauthenticated.items()):
            since = given_up.get(call)
            if since is not None:
                self._given_up[call] = since
                if now >= since + _CLOSE_SECONDS:
                    silent.add(call.context.peer())
            elif now >= due:
                self._give_up(call)
        if silent:
            self._close_connections(silent)
        if self.pending:
            self._schedule_check()

    def _give_up(self, call: Call) -> None:
        self._given_up[call] = time.monotonic()
        self.given_up += 1
        end = asyncio.create_task(_end(call))
        self._ending.add(end)
        end.add_done_callback(self._ending.discard)


async def _end(call: Call) -> None:
    """Send the status of a call whose request is overdue, which ends the wait for the request."""
    error = Overloaded(
        "the request did not arrive completely in time: send it at once", _RETRY_AFTER
    )
    failure = rpc_error_of(error, call.request_id)
    # AbortError is raised when the status was sent; the others mean that the call has just ended.
    with suppress(grpc.aio.AbortError, grpc.aio.BaseError, grpc.aio.UsageError):
        await call.context.abort_with_status(grpc_status(failure, ()))
