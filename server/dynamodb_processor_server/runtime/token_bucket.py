"""Token buckets that may go into debt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

#: The owner of a bucket: rate class, principal, and table, empty for all of them.
BucketName = tuple[str, str, str]

_MINUTE: Final = 60.0  # seconds


class Bucket(Protocol):
    """Units that are refilled evenly up to `capacity`, all of it within a minute."""

    @property
    def capacity(self) -> float:
        """The most units there can be."""
        ...

    def balance(self) -> float:
        """Return the number of units left, as far as known; below zero is debt.

        Safe in another thread.
        """
        ...

    def refresh(self) -> None:
        """Request the balance that other replicas' debits leave, without waiting for it."""
        ...

    def take(self, units: float) -> None:
        """Take units, even beyond the balance."""
        ...


class LocalBucket:
    """A bucket in this process, full at first, whose capacity is refilled in `period` seconds.

    `clock` gives seconds, never going back.
    """

    __slots__ = ("_at", "_clock", "_left", "_rate", "capacity")

    def __init__(
        self, capacity: float, clock: Callable[[], float], period: float = _MINUTE
    ) -> None:
        self.capacity = capacity
        self._clock = clock
        self._rate = capacity / period
        self._left = capacity
        self._at = clock()

    def balance(self) -> float:
        """Return the number of units left."""
        back = (self._clock() - self._at) * self._rate
        return min(self.capacity, self._left + back)

    def refresh(self) -> None:
        """Do nothing: no other replica takes from it."""

    def take(self, units: float) -> None:
        """Take units."""
        now = self._clock()
        back = (now - self._at) * self._rate
        self._left, self._at = min(self.capacity, self._left + back) - units, now

    def set(self, balance: float) -> None:
        """Set the number of units left."""
        self._left, self._at = balance, self._clock()


def is_full(bucket: Bucket) -> bool:
    """Return whether a bucket is as a new one would be."""
    return bucket.balance() >= bucket.capacity


def seconds_to_pay(balance: float, capacity: float) -> float:
    """Return the seconds until a debt is refilled."""
    return -balance * _MINUTE / capacity
