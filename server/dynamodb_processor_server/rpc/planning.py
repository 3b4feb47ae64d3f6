"""Runs parsing and planning, charges the time to the caller, and keeps the event loop free."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits

_T = TypeVar("_T")

# Bytes of a query that is planned on the event loop: that takes about 5 ms at most, and handing it
# to a thread takes 0.2 ms. While the thread plans, it shares the interpreter with the loop.
_MAX_INLINE_BYTES: Final = 512
# Seconds of planning that are reserved while it runs: for each byte of the query, and at most.
_SECONDS_PER_BYTE: Final = 10e-6
_MAX_RESERVED_SECONDS: Final = 0.1


class PlanningWork:
    """Runs work whose duration grows with the size of a request, and charges it to the caller.

    `thread` has one thread: several would delay the event loop more and be no faster.
    """

    def __init__(self, limits: PlanningTimeLimits, thread: Executor) -> None:
        self._limits = limits
        self._thread = thread

    def run(self, principal: Principal, work: Callable[[], _T], *, begun: bool = False) -> _T:
        """Run `work` at once and return its result.

        Raises RateLimited, before the work begins, for a principal whose planning time is used up,
        and any exception of `work`.
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
        """Run `work` on a query of `size` bytes, in a thread if it is large.

        `begun` says that some work of the call has been done already. Raises as `run`.
        """
        if size <= _MAX_INLINE_BYTES:
            return self.run(principal, work, begun=begun)
        return await self.run_in_thread(principal, size, work, begun=begun)

    async def run_in_thread(
        self, principal: Principal, size: int, work: Callable[[], _T], *, begun: bool = False
    ) -> _T:
        """Run `work` on a request of `size` bytes in the thread. Raises as `run`."""
        self._limits.check(principal, begun=begun)
        # Reserved, so that many calls cannot begin before the first one is charged.
        reserved = min(size * _SECONDS_PER_BYTE, _MAX_RESERVED_SECONDS)
        self._limits.charge(principal, reserved)
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
            self._limits.charge(principal, seconds - reserved)
