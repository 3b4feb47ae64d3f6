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
from dataclasses import dataclass, field
from typing import Any, Final, cast

import grpc

from dynamodb_processor_server.access.admission import Admission
from dynamodb_processor_server.errors import InvalidRequest, Overloaded
from dynamodb_processor_server.rpc.call import Call
from dynamodb_processor_server.rpc.statuses import failure_of, grpc_status

_PLACES: Final = 64  # requests of known callers that are received at once
_MOST_QUEUED: Final = 100_000  # calls are bounded elsewhere
_PATIENCE: Final = 5.0  # seconds that one of them waits for a place
_MOST_UNKNOWN: Final = 32  # requests of unknown callers that are received at once
_EVERY: Final = 0.5  # seconds between looks for requests that take too long
_LAST_SECONDS: Final = 2.0  # for a client to read that its call was given up
_RETRY_AFTER: Final = 1.0  # seconds


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that has not come whole; times are in seconds of the monotonic clock."""

    call: Call
    due: float
    given_up: float | None = field(default=None)


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
        self._places = Admission(_PLACES, _MOST_QUEUED, wait=_PATIENCE, retry_after=_RETRY_AFTER)
        self._known: dict[int, _Pending] = {}
        self._unknown: dict[int, _Pending] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """The requests that have not come whole."""
        return len(self._known) + len(self._unknown)

    async def receive(self, call: Call) -> bytes:
        """Return the one request of a call.

        Raises Overloaded where too many others are being received, and InvalidRequest if there is
        none.
        """
        principal = call.principal
        if principal is None:
            data = await self._wait(self._unknown, call, self._timeout)
        else:
            await self._places.enter(principal.name)
            try:
                data = await self._wait(self._known, call, self._timeout)
            finally:
                self._places.leave(principal.name)
        if data is None:
            # gRPC tells of a caller that has left in this way too, a little earlier than otherwise.
            await asyncio.sleep(_EVERY)
            raise InvalidRequest.of("request", "is missing: send one message")
        return data

    async def next(self, call: Call) -> bytes | None:
        """Return the next request of a stream, which may take its time; None at its end."""
        return await self._wait(self._unknown, call, float("inf"))

    async def _wait(
        self, pendings: dict[int, _Pending], call: Call, seconds: float
    ) -> bytes | None:
        key = id(call)
        pendings[key] = _Pending(call, self._clock() + seconds)
        if len(self._unknown) > _MOST_UNKNOWN:
            self._make_room()
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(_EVERY, self._look)
        try:
            data: Any = await call.context.read()
        finally:
            del pendings[key]
        return None if data is grpc.aio.EOF else cast("bytes", data)

    def _make_room(self) -> None:
        pending = [each for each in self._unknown.values() if each.given_up is None]
        for each in pending[: max(0, len(pending) - _MOST_UNKNOWN)]:
            self._give_up(each)

    def _look(self) -> None:
        """Give up what takes too long, and close the connections of those that do not even read."""
        self._sweep = None
        now = self._clock()
        silent = set()
        for each in (*self._known.values(), *self._unknown.values()):
            if each.given_up is None:
                if now >= each.due:
                    self._give_up(each)
            elif now >= each.given_up + _LAST_SECONDS:
                silent.add(each.call.context.peer())
        if silent:
            self._close_connections(silent)
        if self.pending:
            self._sweep = asyncio.get_running_loop().call_later(_EVERY, self._look)

    def _give_up(self, pending: _Pending) -> None:
        pending.given_up = self._clock()
        self.given_up += 1
        end = asyncio.create_task(_end(pending.call))
        self._ends.add(end)
        end.add_done_callback(self._ends.discard)


async def _end(call: Call) -> None:
    """Send a call whose request does not come its status; then the wait for the request ends."""
    error = Overloaded("the request did not come whole in time: send it at once", _RETRY_AFTER)
    failure = failure_of(error, call.request_id)
    # Raised where it has been sent; anything else means that the call has just ended by itself.
    with suppress(grpc.aio.AbortError, grpc.aio.BaseError, grpc.aio.UsageError):
        await call.context.abort_with_status(grpc_status(failure, ()))
