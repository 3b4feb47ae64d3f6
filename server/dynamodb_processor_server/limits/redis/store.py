"""Shared limits in Redis or Valkey, one script and one round trip for each operation."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Final

import orjson

from dynamodb_processor_server.limits.redis import scripts
from dynamodb_processor_server.limits.redis.port import BucketDebit, WindowAcquire
from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import close_redis, open_redis, run_script
from dynamodb_processor_server.runtime.sliding_window import windows_until

_CONNECTIONS: Final = 4  # one message of each kind is under way at a time


class RedisLimitStore:
    """The store behind `url`. Callers bound what an operation takes, connecting included.

    All keys begin with `prefix`. They name principals and tables, so that an operator can look at a
    limit or lift it. Raises ConfigurationError when the URL is none of Redis's.
    """

    def __init__(self, url: str, timeout: float, prefix: str) -> None:
        # No retries: a message that was taken twice would be charged twice.
        self._redis = open_redis(url, timeout, _CONNECTIONS, retries=0)
        self._prefix = prefix
        self._take_calls = self._redis.register_script(scripts.TAKE_CALLS)
        self._take_units = self._redis.register_script(scripts.TAKE_UNITS)

    async def acquire_windows(self, asked: Sequence[WindowAcquire]) -> list[float | None]:
        """Take calls, or return the seconds to wait."""
        # A window of another length, after a change of settings, is counted in other steps.
        names = [self._name("calls", *taking.key, taking.length) for taking in asked]
        numbers = [number for taking in asked for number in (taking.limit, taking.length)]
        answers = await run_script(self._take_calls, names, numbers)
        try:
            return [_wait(*pair) for pair in zip(asked, answers, strict=True)]
        except (AttributeError, TypeError, ValueError):
            raise StoreError("garbage") from None

    async def debit_buckets(self, takings: Sequence[BucketDebit]) -> list[float]:
        """Take units and return the balances."""
        names = [self._name("units", *taking.name) for taking in takings]
        amounts = [repr(part) for taking in takings for part in (taking.capacity, taking.units)]
        answer = await run_script(self._take_units, names, amounts)
        try:
            balances = [float(balance) for balance in answer]
        except (TypeError, ValueError):
            raise StoreError("garbage") from None
        if len(balances) != len(takings) or not all(map(isfinite, balances)):
            raise StoreError("garbage")
        return balances

    async def close(self) -> None:
        """Close the connections."""
        await close_redis(self._redis)

    def _name(self, kind: str, *parts: str | int) -> str:
        # As JSON, so that no two lists of names make one key, whatever is in the names.
        return f"{self._prefix}limit:{kind}:{orjson.dumps(parts).decode()}"


def _wait(taking: WindowAcquire, state: bytes) -> float | None:
    if not state:
        return None
    previous, current, passed = state.split()
    return taking.length * windows_until(taking.limit, int(previous), int(current), float(passed))
