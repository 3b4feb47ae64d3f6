"""Limits that replicas share, in memory and on a clock of the test's own; the store can be lost."""

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
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def principal(name: str = "p", rate_class: str = "default") -> Principal:
    """Return a caller."""
    return Principal("k", name, frozenset({"reader"}), (Grant("*"),), rate_class)


async def charge(limiter: Limiter, caller: Principal, table: str = "") -> None:
    """Charge a call and wait where one has to."""
    waiting = limiter.charge(caller, table)
    if waiting is not None:
        await waiting


class MemoryLimitStore:
    """What replicas share. `failure` is raised by every operation, `hung` ones never end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.failure: Exception | None = None
        self.hung = False
        self.call_messages: list[list[WindowAcquire]] = []
        self.unit_messages: list[list[BucketDebit]] = []
        self._clock = clock
        self._windows = SlidingWindowCounter(clock)
        self._buckets: dict[BucketName, LocalBucket] = {}

    async def acquire_windows(self, asked: Sequence[WindowAcquire]) -> list[float | None]:
        """Take calls."""
        await self._fail()
        self.call_messages.append(list(asked))
        answers: list[float | None] = []
        for taking in asked:
            what = taking.key, taking.limit, taking.length
            taken = self._windows.acquire(*what)
            answers.append(None if taken else self._windows.wait_for(*what))
        await asyncio.sleep(0)  # the answer is on its way while others call
        return answers

    async def debit_buckets(self, takings: Sequence[BucketDebit]) -> list[float]:
        """Take units."""
        await self._fail()
        self.unit_messages.append(list(takings))
        balances = []
        for taking in takings:
            bucket = self._buckets.setdefault(
                taking.name, LocalBucket(taking.capacity, self._clock)
            )
            bucket.take(taking.units)
            balances.append(bucket.balance())
        await asyncio.sleep(0)  # the answer is on its way while others charge
        return balances

    async def close(self) -> None:
        """Hold nothing."""

    async def _fail(self) -> None:
        if self.hung:
            await asyncio.Event().wait()
        if self.failure is not None:
            raise self.failure
