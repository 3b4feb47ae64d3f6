"""Keeps callers within their rates."""

from __future__ import annotations

from collections.abc import Awaitable

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
        return self._limiter.charge(call.caller, "")
