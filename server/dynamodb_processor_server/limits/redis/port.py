"""The port of shared limits: a store that all replicas reach, and whose clock is the only one."""

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
    """A request to count a call in a sliding window.

    Attributes:
        key: The window's rate class, principal and table.
        limit: The most calls in one window.
        length: The seconds of a window.
    """

    key: Key
    limit: int
    length: int


@dataclass(frozen=True, slots=True)
class BucketDebit:
    """Units to take from a bucket, 0 to get its balance. An unknown bucket is full."""

    name: BucketName
    capacity: float
    units: float


class LimitStore(Protocol):
    """Counts calls and keeps buckets. Its requests raise StoreError."""

    async def acquire_windows(self, windows: Sequence[WindowAcquire]) -> list[float | None]:
        """Count calls, one after the other, each if it stays within its limit.

        Returns for each call None if it was counted, else the seconds until it can be, if no other
        call is counted before.
        """
        ...

    async def debit_buckets(self, debits: Sequence[BucketDebit]) -> list[float]:
        """Take units, even beyond the balance, and return the balances after that."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
