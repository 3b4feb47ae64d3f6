"""Bounds the calls of unauthenticated callers: health, reflection, and refused calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, Final, cast

import grpc

from dynamodb_processor_server.errors import Overloaded
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook

HEALTH: Final = "/grpc.health.v1.Health/"
REFLECTION: Final = "/grpc.reflection."

_Context = grpc.aio.ServicerContext[Any, Any]

_MAX_PER_CONNECTION: Final = 32
_RETRY_AFTER: Final = 1.0  # seconds


def exempt_methods(open_reflection: bool) -> tuple[str, ...]:
    """Return the prefixes of methods that unauthenticated callers may call."""
    return (HEALTH, REFLECTION) if open_reflection else (HEALTH,)


class UnauthenticatedCalls:
    """Counts the calls of unauthenticated callers until gRPC has sent their statuses.

    They cannot be refused when there are too many: a refusal must be sent, too, and a probe must be
    answered. So the connection that has most of them is closed.
    """

    def __init__(self, limit: int, close_connections: Callable[[Collection[str]], None]) -> None:
        """Create a counter that closes connections beyond `limit` calls, at least 1."""
        self.refused = 0
        self._limit = limit
        self._close_connections = close_connections
        self._by_peer: Counter[str] = Counter()
        self._total = 0
        self._closing: set[str] = set()

    def __len__(self) -> int:
        return self._total

    def enter(self, context: _Context) -> int:
        """Count a call until it has ended; return the number of calls of its connection."""
        peer = context.peer()

        def left(_: _Context) -> None:
            self._leave(peer)

        context.add_done_callback(cast("Any", left))  # the stubs do not accept plain functions
        self._total += 1
        self._by_peer[peer] += 1
        if self._total - sum(self._by_peer[each] for each in self._closing) > self._limit:
            self._close_largest()
        return self._by_peer[peer]

    def _leave(self, peer: str) -> None:
        self._total -= 1
        self._by_peer[peer] -= 1
        if not self._by_peer[peer]:
            del self._by_peer[peer]
            self._closing.discard(peer)

    def _close_largest(self) -> None:
        others = [peer for peer in self._by_peer if peer not in self._closing]
        largest = max(others, key=self._by_peer.__getitem__)
        self._closing.add(largest)
        self._close_connections((largest,))


class ExemptCallLimit(CallHook):
    """Counts the calls of health and reflection, which need no authentication."""

    def __init__(self, calls: UnauthenticatedCalls, open_reflection: bool) -> None:
        self._calls = calls
        self._exempt = exempt_methods(open_reflection)

    def applies_to(self, method: str) -> bool:
        """Return True for methods that need no authentication."""
        return method.startswith(self._exempt)

    def on_start(self, call: Call) -> None:
        """Count a call in; raise Overloaded if its connection has too many."""
        if self._calls.enter(call.context) > _MAX_PER_CONNECTION:
            self._calls.refused += 1
            raise Overloaded("too many probes are under way on this connection", _RETRY_AFTER)
