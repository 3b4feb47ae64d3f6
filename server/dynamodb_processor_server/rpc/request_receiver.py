"""Receiving requests: in a bounded time, and not too many of them at once.

gRPC lets a client send as much of a request as it may be large as soon as the server asks for it,
and keeps what has come until the rest has. Handlers are therefore registered as if requests were
streams: the hooks run first, and then this asks gRPC for the message.

What is waited for is never cancelled here, since gRPC writes the message into memory that belongs
to the waiting coroutine. A call is given up by sending its status, which ends the wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Final, TypeVar

import grpc

from dynamodb_processor_server.errors import InvalidRequest, Overloaded
from dynamodb_processor_server.limits.admission import Admission
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.encode.status import grpc_status, rpc_error_of

_MAX_RECEIVING: Final = 64  # requests of known callers that are received at once
_MAX_QUEUED: Final = 100_000  # calls are bounded elsewhere
_QUEUE_SECONDS: Final = 5.0  # seconds that one of them waits for a place
_MAX_UNAUTHENTICATED: Final = 32  # requests of unknown callers that are received at once
_CHECK_SECONDS: Final = 0.5  # seconds between checks for requests that take too long
_CLOSE_SECONDS: Final = 2.0  # for a client to read that its call was given up
_RETRY_AFTER: Final = 1.0  # seconds


Request = TypeVar("Request")


class RequestReceiver:
    """Receives the requests of calls whose hooks have started.

    At most 64 requests of authenticated callers are received at once, of which no principal has
    more than seven of eight. Of others (probes, reflection) at most 32: whoever comes next is
    served at the cost of the oldest, since what they send is small and comes at once.
    """

    def __init__(
        self,
        timeout: float = 10.0,
        close_connections: Callable[[Collection[str]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create it.

        Args:
            timeout: Seconds that a request may take to come whole.
            close_connections: Closes the connections of peers that do not read either.
            clock: Seconds, never going back.
        """
        self.given_up = 0
        self._timeout = timeout
        self._close_connections = close_connections
        self._clock = clock
        self._admission = Admission(
            _MAX_RECEIVING, _MAX_QUEUED, wait=_QUEUE_SECONDS, retry_after=_RETRY_AFTER
        )
        # Calls whose requests have not come whole, and when these are due; and when those were
        # given up that take longer. In seconds of the clock.
        self._authenticated: dict[Call, float] = {}
        self._unauthenticated: dict[Call, float] = {}
        self._given_up: dict[Call, float] = {}
        self._next_check: asyncio.TimerHandle | None = None
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """The requests that have not come whole."""
        return len(self._authenticated) + len(self._unauthenticated)

    async def receive(self, decode: Callable[[bytes], Request], call: Call) -> Request:
        """Return the one request of a call, decoded.

        Raises Overloaded where too many others are being received, InvalidRequest if there is none,
        and what `decode` raises.
        """
        principal = call.principal
        if principal is None:
            data = await self._wait(self._unauthenticated, call, self._timeout)
        else:
            # Nobody waits for a place where there is one, so most calls need no coroutine for that.
            if not self._admission.try_enter(principal.name):
                await self._admission.enter(principal.name)
            try:
                data = await self._wait(self._authenticated, call, self._timeout)
            finally:
                self._admission.leave(principal.name)
        if data is grpc.aio.EOF:
            # gRPC tells of a caller that has left in this way too, a little earlier than otherwise.
            await asyncio.sleep(_CHECK_SECONDS)
            raise InvalidRequest.of("request", "is missing: send one message")
        return decode(data)

    async def next(self, call: Call) -> bytes | None:
        """Return the next request of a stream, which may take its time; None at its end."""
        data = await self._wait(self._unauthenticated, call, float("inf"))
        return None if data is grpc.aio.EOF else data

    async def _wait(self, pending: dict[Call, float], call: Call, seconds: float) -> Any:
        """Return what gRPC has received next for a call: bytes, or its mark of the end."""
        pending[call] = self._clock() + seconds
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
        """Give up what takes too long, and close the connections of those that do not even read."""
        self._next_check = None
        now = self._clock()
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
        self._given_up[call] = self._clock()
        self.given_up += 1
        end = asyncio.create_task(_end(call))
        self._ending.add(end)
        end.add_done_callback(self._ending.discard)


async def _end(call: Call) -> None:
    """Send a call whose request does not come its status; then the wait for the request ends."""
    error = Overloaded(
        "the request did not arrive completely in time: send it at once", _RETRY_AFTER
    )
    failure = rpc_error_of(error, call.request_id)
    # Raised where it has been sent; anything else means that the call has just ended by itself.
    with suppress(grpc.aio.AbortError, grpc.aio.BaseError, grpc.aio.UsageError):
        await call.context.abort_with_status(grpc_status(failure, ()))
