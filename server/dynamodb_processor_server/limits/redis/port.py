"""The port of limits that replicas share: a store that all of them reach, which has one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings
from dynamodb_processor_server.runtime.sliding_window import Key
from dynamodb_processor_server.runtime.token_bucket import BucketName

#: Batches follow one another, and every call waits for one. So the breaker opens when no command
#: has succeeded for half a second, whether five failed in that time or only one.
LIMIT_STORE_BREAKER: Final = BreakerSettings(minimum_calls=1, window=0.5)


@dataclass(frozen=True, slots=True)
class WindowAcquire:
    """A call that wants to be let through.

    Attributes:
        key: Where it is counted.
        limit: How many there may be in one sliding window.
        length: The seconds of a window.
    """

    key: Key
    limit: int
    length: int


@dataclass(frozen=True, slots=True)
class BucketDebit:
    """Units to be taken from a bucket, 0 to learn what is left. A bucket not known is full."""

    name: BucketName
    capacity: float
    units: float


class LimitStore(Protocol):
    """Counts calls and keeps buckets. What asks raises StoreError."""

    async def acquire_windows(self, asked: Sequence[WindowAcquire]) -> list[float | None]:
        """Take calls, one after the other, each if it stays within its limit.

        Returns for each None if it was taken; else nothing was, and it can be in so many seconds,
        if nobody else takes any.
        """
        ...

    async def debit_buckets(self, takings: Sequence[BucketDebit]) -> list[float]:
        """Take units, whether they are left or not, and return the balances after that."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
