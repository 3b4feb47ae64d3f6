"""Shared limits in Redis or Valkey, one script and one round trip for each operation."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

import orjson

from dynamodb_processor_server.limits.redis import scripts
from dynamodb_processor_server.limits.redis.port import BucketDebit, WindowAcquire
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient
from dynamodb_processor_server.runtime.sliding_window import windows_until

_CONNECTIONS: Final = 4  # one batch of each kind is under way at a time


class RedisLimitStore:
    """The store at `url`. Callers bound the time of each operation, connecting included.

    All keys begin with `prefix`. They name principals and tables, so that an operator can inspect
    or remove a limit. Raises ConfigurationError when the URL is not a Redis URL.
    """

    def __init__(self, url: str, timeout: float, prefix: str) -> None:
        # No retries: a batch that was sent twice would be charged twice.
        self._redis = RedisClient(url, timeout, _CONNECTIONS, retries=0, key=prefix)
        self._prefix = prefix
        self._acquire_windows = self._redis.script(scripts.ACQUIRE_WINDOWS)
        self._debit_buckets = self._redis.script(scripts.DEBIT_BUCKETS)

    def use(self, url: str) -> None:
        """Use another URL from now on."""
        self._redis.use(url)

    async def acquire_windows(self, windows: Sequence[WindowAcquire]) -> list[float | None]:
        """Count calls, or return the seconds to wait."""
        # The length is part of the name: after a change of settings windows start at other times.
        names = [self._name("calls", *window.key, window.length) for window in windows]
        numbers = [number for window in windows for number in (window.limit, window.length)]
        answers = await self._redis.run(self._acquire_windows, names, numbers)
        try:
            return [_wait(*pair) for pair in zip(windows, answers, strict=True)]
        except (AttributeError, TypeError, ValueError):
            raise StoreError("garbage") from None

    async def debit_buckets(self, debits: Sequence[BucketDebit]) -> list[float]:
        """Take units and return the balances."""
        names = [self._name("units", *debit.name) for debit in debits]
        amounts = [repr(part) for debit in debits for part in (debit.capacity, debit.units)]
        answer = await self._redis.run(self._debit_buckets, names, amounts)
        try:
            balances = [float(balance) for balance in answer]
        except (TypeError, ValueError):
            raise StoreError("garbage") from None
        if len(balances) != len(debits) or not all(map(isfinite, balances)):
            raise StoreError("garbage")
        return balances

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    def _name(self, kind: str, *parts: str | int) -> str:
        # As JSON, so that no two lists of names make the same key, with any characters in names.
        return f"{self._prefix}limit:{kind}:{orjson.dumps(parts).decode()}"


def _wait(window: WindowAcquire, state: bytes) -> float | None:
    if not state:
        return None
    previous, current, passed = state.split()
    return window.length * windows_until(window.limit, int(previous), int(current), float(passed))
