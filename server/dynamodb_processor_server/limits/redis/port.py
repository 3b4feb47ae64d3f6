"""The port of limits that replicas share: a store that all of them reach, which has one clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dynamodb_processor_server.runtime.sliding_window import Key
from dynamodb_processor_server.runtime.token_bucket import BucketName


class LimitStoreError(Exception):
    """The store did not do what it was asked, or may not have.

    `kind` is for metrics. `words` are the store's own, for the log.
    """

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.words = words


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
    """Counts calls and keeps buckets. What asks raises LimitStoreError."""

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
