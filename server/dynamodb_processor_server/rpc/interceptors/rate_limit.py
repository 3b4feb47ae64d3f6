"""Limits the rate of calls, the calls in flight and the number of open streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from itertools import takewhile
from typing import Any

from dynamodb_processor_server.limits.call_rate import Limiter
from dynamodb_processor_server.limits.calls_in_flight import CallsInFlight
from dynamodb_processor_server.limits.open_streams import OpenStreams
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.unauthenticated import HEALTH, REFLECTION


class RateLimiting(CallHook):
    """Charges each call to its principal."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def applies_to(self, method: str) -> bool:
        """Return True for methods whose callers are always authenticated."""
        return not method.startswith((HEALTH, REFLECTION))

    def on_start(self, call: Call) -> Awaitable[None] | None:
        """Charge a call, even if it is refused later, or raise RateLimited when none is left."""
        return self._limiter.charge(call.caller)


class CallLimit(CallHook):
    """Refuses calls and responses of a principal that has too many of them in flight.

    A call is counted until gRPC has sent its status. That may be long after its handler returned,
    as the client's flow control decides. A client that does not take the response of a unary call
    in time loses its connection, even if its deadline is later, because there is no other way to
    end a call whose response gRPC holds.
    """

    def __init__(
        self,
        in_flight: CallsInFlight,
        answer_timeout: float,
        close_connections: Callable[[Collection[str]], None],
        streams: str,
    ) -> None:
        """Create the hook.

        Args:
            in_flight: Counts calls and bytes.
            answer_timeout: Seconds that gRPC has to send the response of a unary call.
            close_connections: Closes the connections of peers.
            streams: The streaming method, whose callers may take messages slowly.
        """
        self._in_flight = in_flight
        self._answer_timeout = answer_timeout
        self._close_connections = close_connections
        self._streams = streams
        self._answered: dict[Call, float] = {}
        self._check: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def applies_to(self, method: str) -> bool:
        """Return True for methods whose callers are always authenticated."""
        return not method.startswith((HEALTH, REFLECTION))

    def on_start(self, call: Call) -> None:
        """Count a call in, or raise RateLimited or Overloaded."""
        call.share = self._in_flight.enter(call.caller.name)
        # gRPC's task for a call ends when gRPC has sent the status. A callback of the context would
        # run at that time, too, but makes a cycle that holds all objects of the call until the next
        # garbage collection.
        # The loop is looked up once: asyncio asks the kernel for the process id each time.
        loop = self._loop = self._loop or asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "hooks run in gRPC's task"
        task.add_done_callback(partial(self._done, call))

    def on_send(self, call: Call, size: int) -> None:
        """Count the bytes of a response in, or raise RateLimited or Overloaded."""
        self._in_flight.sending(call.share, size)
        call.unsent += size
        if call.method != self._streams:
            self._answered[call] = time.monotonic()
            if self._check is None:
                self._schedule_check()

    def on_sent(self, call: Call, size: int) -> None:
        """Count the bytes of a message out."""
        self._in_flight.sent(call.share, size)
        call.unsent -= size

    def _done(self, call: Call, _task: asyncio.Task[Any]) -> None:
        self._answered.pop(call, None)
        self._in_flight.leave(call.share, call.unsent)

    def _schedule_check(self) -> None:
        wait = self._answer_timeout / 4
        self._check = asyncio.get_running_loop().call_later(wait, self.close_stuck)

    def close_stuck(self) -> None:
        """Close the connections of clients that have not taken a response in time."""
        self._check = None
        latest = time.monotonic() - self._answer_timeout
        # Ordered by the time of the response, so all behind the first recent one are recent too.
        stuck = takewhile(lambda answered: answered[1] <= latest, self._answered.items())
        peers = {call.context.peer() for call, _ in stuck}
        if peers:
            self._close_connections(peers)
        if self._answered:
            self._schedule_check()


class StreamLimit(CallHook):
    """Refuses a stream when too many are open."""

    def __init__(self, method: str, streams: OpenStreams) -> None:
        self._method = method
        self._streams = streams

    def applies_to(self, method: str) -> bool:
        """Return True for the streaming method, whose callers decide how long a call lasts."""
        return method == self._method

    def on_start(self, call: Call) -> None:
        """Count a stream in, or raise Overloaded."""
        self._streams.enter(call.caller.name)

    def on_end(self, call: Call) -> None:
        """Count the stream out."""
        self._streams.leave(call.caller.name)
