"""Keeps callers within their rates, and streams within their number."""

from __future__ import annotations

from collections.abc import Awaitable

from dynamodb_processor_server.access.open_streams import OpenStreams
from dynamodb_processor_server.access.rate_limits import Limiter
from dynamodb_processor_server.rpc.call import Call
from dynamodb_processor_server.rpc.interceptors.adapter import CallHook
from dynamodb_processor_server.rpc.interceptors.authentication import HEALTH, REFLECTION


class RateLimiting(CallHook):
    """Charges each call to its principal."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    def applies_to(self, method: str) -> bool:
        """All methods that authenticate whoever calls."""
        return not method.startswith((HEALTH, REFLECTION))

    def started(self, call: Call) -> Awaitable[None] | None:
        """Charge a call, refused later or not, or raise RateLimited when none is left."""
        return self._limiter.charge(call.caller)


class StreamBounding(CallHook):
    """Refuses streams where too many are open."""

    def __init__(self, method: str, streams: OpenStreams) -> None:
        self._method = method
        self._streams = streams

    def applies_to(self, method: str) -> bool:
        """The one method whose calls last for as long as their callers like."""
        return method == self._method

    def started(self, call: Call) -> None:
        """Count a stream in, or raise Overloaded."""
        self._streams.enter(call.caller.name)

    def ended(self, call: Call) -> None:
        """Count it out."""
        self._streams.leave(call.caller.name)
