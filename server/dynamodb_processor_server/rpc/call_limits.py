"""The bounds of calls of `QueryService`, and the limits of their callers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.limits.call_rate import Limiter
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.reader import Caller
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.table_access import TableAccess

_REMAINING: Final = "x-read-units-remaining"


@dataclass(frozen=True, slots=True)
class CallBounds:
    """The longest calls and the largest pages.

    The deadlines are in seconds, as is `stream_interval`, the longest time between two messages of
    a stream. `max_page_bytes` bounds the encoded items of a response.
    """

    unary_deadline: float = 30.0
    stream_deadline: float = 3600.0
    stream_interval: float = 2.0
    max_page_bytes: int = 3_500_000


def caller_within(call: Call, limit: float) -> Caller:
    """Return the caller, with the time until its deadline, and `limit` seconds at most."""
    left: float | None = call.context.time_remaining()
    seconds = limit if left is None or left > limit else left
    return Caller(call.caller, asyncio.get_running_loop().time() + seconds)


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits of callers: on calls per second, and on read units per minute.

    The rate classes in `unlimited` limit nothing but the calls in all, which a hook counts.
    """

    calls: Limiter
    read_units: ReadUnitLimits
    unlimited: Collection[str] = frozenset()

    def begin(self, call: Call, access: TableAccess) -> Awaitable[None] | None:
        """Let a call read under an access; return an awaitable if it has to wait.

        A caller without read units left is refused, else the call is counted. A call that is
        planned anew was counted before.
        """
        is_new, call.access = call.access is None, access
        if not is_new or call.caller.rate_class in self.unlimited:
            return None
        self.check_read_units(call)
        return self.count(call)

    def count(self, call: Call) -> Awaitable[None] | None:
        """Count a call; return an awaitable if it has to wait, and raise RateLimited beyond it."""
        return self.calls.charge(call.caller, call.table)

    def check_read_units(self, call: Call) -> None:
        """Raise RateLimited if the caller has no read units left."""
        self.read_units.check(call.caller, call.table)

    def add_remaining_trailer(self, call: Call) -> None:
        """Add the caller's remaining read units to the trailers, where they are limited."""
        if call.caller.rate_class in self.unlimited:
            return
        left = self.read_units.remaining(call.caller, call.table)
        if left is not None:
            call.trailing += ((_REMAINING, str(left)),)
