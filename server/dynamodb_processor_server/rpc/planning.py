"""Runs what has to be parsed and planned, charges it to its caller, and keeps the loop free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.rpc.call_context import current_call

_T = TypeVar("_T")

# Bytes of a query that the loop plans itself: that takes some 5 ms at most, where handing it over
# to a thread takes 0.2 ms. While a thread plans, the loop takes turns with it.
_MAX_INLINE_BYTES: Final = 512
# Seconds that planning takes for each byte, and at most, which are set aside while it is under way.
_SECONDS_PER_BYTE: Final = 10e-6
_MAX_RESERVED_SECONDS: Final = 0.1


class PlanningWork:
    """Does work that grows with what a caller has sent.

    `thread` has one thread: several would take more of the loop's turns and be no faster.
    """

    def __init__(self, limits: PlanningTimeLimits, thread: Executor) -> None:
        self._limits = limits
        self._thread = thread

    def run(self, principal: Principal, work: Callable[[], _T], *, begun: bool = False) -> _T:
        """Do work at once.

        Raises RateLimited, before anything is done, for a principal whose planning time is used up,
        and what `work` raises.
        """
        self._limits.check(principal, begun=begun)
        began = time.thread_time()
        try:
            return work()
        finally:
            self._limits.charge(principal, time.thread_time() - began)

    async def run_sized(
        self, principal: Principal, size: int, work: Callable[[], _T], *, begun: bool = False
    ) -> _T:
        """Do work on a query of `size` bytes, in a thread if it takes long.

        `begun` says that something has been done for the call already. Raises what `do` raises.
        """
        if size <= _MAX_INLINE_BYTES:
            return self.run(principal, work, begun=begun)
        self._limits.check(principal, begun=begun)
        # Set aside, lest many calls begin before the first one is charged.
        aside = min(size * _SECONDS_PER_BYTE, _MAX_RESERVED_SECONDS)
        self._limits.charge(principal, aside)
        seconds = 0.0

        def measured() -> _T:
            nonlocal seconds
            began = time.thread_time()
            try:
                return work()
            finally:
                seconds = time.thread_time() - began

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, measured)
        finally:
            self._limits.charge(principal, seconds - aside)


class EvaluationCharges:
    """Charges the conditions that the service evaluates to the caller of the current call.

    A task that reads for several callers goes on with the call that began it.
    """

    def __init__(self, limits: PlanningTimeLimits) -> None:
        self._limits = limits

    def check(self) -> None:
        """Raise RateLimited for a caller who is deep in debt."""
        self._limits.check(current_call().caller, begun=True)

    def charge(self, seconds: float) -> None:
        """Take the seconds of processor that evaluation has taken."""
        self._limits.charge(current_call().caller, seconds)
