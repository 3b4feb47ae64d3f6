"""Shared limits in memory, on a clock of the test; the store can fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.call_rate import Limiter
from dynamodb_processor_server.limits.redis.port import BucketDebit, WindowAcquire
from dynamodb_processor_server.runtime.sliding_window import SlidingWindowCounter
from dynamodb_processor_server.runtime.token_bucket import BucketName, LocalBucket


class Clock:
    """A clock that a test sets."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def principal(name: str = "p", rate_class: str = "default") -> Principal:
    """Return a caller."""
    return Principal("k", name, frozenset({"reader"}), (Grant("*"),), rate_class)


async def charge(limiter: Limiter, caller: Principal, table: str = "") -> None:
    """Charge a call, and await the result if there is one."""
    waiting = limiter.charge(caller, table)
    if waiting is not None:
        await waiting


class MemoryLimitStore:
    """The store that replicas share. Operations raise `failure`, and never end while `hung`."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.failure: Exception | None = None
        self.hung = False
        self.call_batches: list[list[WindowAcquire]] = []
        self.unit_batches: list[list[BucketDebit]] = []
        self._clock = clock
        self._windows = SlidingWindowCounter(clock)
        self._buckets: dict[BucketName, LocalBucket] = {}

    async def acquire_windows(self, windows: Sequence[WindowAcquire]) -> list[float | None]:
        """Count calls."""
        await self._fail()
        self.call_batches.append(list(windows))
        answers: list[float | None] = []
        for window in windows:
            arguments = window.key, window.limit, window.length
            counted = self._windows.acquire(*arguments)
            answers.append(None if counted else self._windows.wait_for(*arguments))
        await asyncio.sleep(0)  # other calls arrive before the response
        return answers

    async def debit_buckets(self, debits: Sequence[BucketDebit]) -> list[float]:
        """Take units."""
        await self._fail()
        self.unit_batches.append(list(debits))
        balances = []
        for debit in debits:
            bucket = self._buckets.setdefault(debit.name, LocalBucket(debit.capacity, self._clock))
            bucket.take(debit.units)
            balances.append(bucket.balance())
        await asyncio.sleep(0)  # other charges arrive before the response
        return balances

    async def close(self) -> None:
        """Do nothing."""

    async def _fail(self) -> None:
        if self.hung:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
