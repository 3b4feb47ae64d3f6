"""Keeps callers within their rates and the server within its means."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import cast

from dynamodb_processor_server.access.admission import Admission
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


class Admitting(CallHook):
    """Gives each read one of a bounded number of places; probes need none."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def applies_to(self, method: str) -> bool:
        """All methods that read."""
        return not method.startswith((HEALTH, REFLECTION))

    def started(self, call: Call) -> Awaitable[None] | None:
        """Take a place, waiting for one if need be, or raise Overloaded."""
        if self._admission.try_enter():
            return None
        left = cast("float | None", call.context.time_remaining())
        return self._admission.enter(call.caller.name, left)

    def ended(self, call: Call) -> None:
        """Give the place back."""
        self._admission.leave()
