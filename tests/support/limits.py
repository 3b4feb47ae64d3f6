"""Limits that replicas share, in memory and on a clock of the test's own; the store can be lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from dynamodb_processor_server.access.buckets import BucketName, LocalBucket
from dynamodb_processor_server.access.grants import Grant
from dynamodb_processor_server.access.principals import Principal
from dynamodb_processor_server.access.rate_limits import Limiter
from dynamodb_processor_server.access.shared_limits.port import Taking
from dynamodb_processor_server.access.windows import Key, Windows


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


async def charge(limiter: Limiter, caller: Principal, calls: int = 1) -> None:
    """Charge calls and wait where one has to."""
    waiting = limiter.charge(caller, "t", calls)
    if waiting is not None:
        await waiting


class MemoryLimitStore:
    """What replicas share. `failure` is raised by every operation, `hung` ones never end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.failure: Exception | None = None
        self.hung = False
        self.messages: list[list[Taking]] = []
        self._clock = clock
        self._windows = Windows(clock)
        self._buckets: dict[BucketName, LocalBucket] = {}

    async def take_calls(self, key: Key, limit: int, length: int, amount: int) -> float | None:
        """Take calls."""
        await self._fail()
        if self._windows.acquire(key, limit, length, amount):
            return None
        return self._windows.wait_for(key, limit, length, amount)

    async def take_units(self, takings: Sequence[Taking]) -> list[float]:
        """Take units."""
        await self._fail()
        self.messages.append(list(takings))
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
