"""Logs slow calls, with the plan of their query and where the time went.

A unary call is slow by its duration. A stream lasts as long as its caller reads, so that it is slow
by the longest time for which the caller waited for one message of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, Final

import structlog

from dynamodb_processor_server.rpc.call_context import Call, MessageWaits
from dynamodb_processor_server.rpc.encode.plan_summary import plan_summary
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook

_log = structlog.get_logger(__name__)

_OWN_SERVICES: Final = "/dynamodb_processor."  # calls of health and reflection may stay open


class StreamWaits(CallHook):
    """Measures the waits of each stream's caller, for `SlowCallLog`; not used where that is off."""

    def __init__(self, streams: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Create a hook of the method `streams`; `clock` is that of `Call.started`."""
        self._streams = streams
        self._clock = clock

    def applies_to(self, method: str) -> bool:
        """Return True for the streaming method."""
        return method == self._streams

    def on_start(self, call: Call) -> None:
        """Begin with the wait for the first message."""
        call.message_waits = MessageWaits(call.started)

    def on_send(self, call: Call, size: int) -> None:
        """End a wait: a message is there."""
        call.message_waits.end(self._clock())

    def on_sent(self, call: Call, size: int) -> None:
        """Begin the wait for the next message."""
        call.message_waits.since = self._clock()

    def on_end(self, call: Call) -> None:
        """End the wait in which a stream failed, or its caller left."""
        call.message_waits.end(self._clock())


class SlowCallLog:
    """Logs calls that took `threshold` seconds or more; 0 logs none."""

    def __init__(self, threshold: float) -> None:
        self.threshold = threshold or math.inf

    def write(self, call: Call, status: str, seconds: float, table: str) -> None:
        """Log a call that took as long as the threshold, unless it is a stream that kept up."""
        waits: MessageWaits | None = getattr(call, "message_waits", None)
        if waits is not None and waits.longest < self.threshold:
            return
        if not call.method.startswith(_OWN_SERVICES):
            return
        usage, prepared = call.usage, getattr(call, "prepared", None)
        plan = {} if prepared is None else plan_summary(prepared.query, prepared.plan)
        _log.warning(
            "slow_call",
            request_id=call.request_id,
            method=call.method,
            principal=call.principal.name if call.principal else "",
            table=table,
            status=status,
            reason=call.reason,
            duration_ms=_milliseconds(seconds),
            **({} if waits is None else {"longest_wait_ms": _milliseconds(waits.longest)}),
            queue_ms=_milliseconds(usage.queue_time),
            backend_ms=_milliseconds(usage.backend_time),
            cache=call.cache,
            items=call.items,
            messages=call.messages,
            **_cost(call),
            **plan,
        )


def _cost(call: Call) -> dict[str, Any]:
    usage = call.usage
    return {
        "read_units": usage.read_units,
        "items_scanned": usage.items_scanned,
        "backend_calls": usage.backend_calls,
        "throttle_retries": usage.retries,
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)
