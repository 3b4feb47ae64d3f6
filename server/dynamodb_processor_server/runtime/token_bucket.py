"""Token buckets that may go into debt."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

#: What a bucket belongs to: the rate class, the principal, and the table, empty for all of them.
BucketName = tuple[str, str, str]

_MINUTE: Final = 60.0  # seconds


class Bucket(Protocol):
    """Units that come back evenly, up to `capacity`, which takes a minute."""

    @property
    def capacity(self) -> float:
        """The most units there can be."""
        ...

    def balance(self) -> float:
        """Return how many are left, as far as is known, below zero when more were taken.

        Safe in another thread.
        """
        ...

    def refresh(self) -> None:
        """Have it found out what others have taken, if there are any; this does not wait."""
        ...

    def take(self, units: float) -> None:
        """Take units, whether they are left or not."""
        ...


class LocalBucket:
    """A full bucket in this process, whose capacity comes back in `period` seconds.

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
        """Return how many units are left."""
        back = (self._clock() - self._at) * self._rate
        return min(self.capacity, self._left + back)

    def refresh(self) -> None:
        """Do nothing: nobody else takes from it."""

    def take(self, units: float) -> None:
        """Take units."""
        now = self._clock()
        back = (now - self._at) * self._rate
        self._left, self._at = min(self.capacity, self._left + back) - units, now

    def set(self, balance: float) -> None:
        """Say how many are left."""
        self._left, self._at = balance, self._clock()


def seconds_to_pay(balance: float, capacity: float) -> float:
    """Return in how many seconds a debt will have come back."""
    return -balance * _MINUTE / capacity
