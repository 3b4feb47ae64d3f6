"""Read units that all replicas take from the same buckets.

Nobody waits for the store. What a read took is taken from the local bucket at once and sent; the
answer, which knows of what others took, replaces the local balance. One message is under way at a
time, and what comes meanwhile goes with the next. So what one replica consumed is in the store
after two round trips at most, and another knows of it at its principal's first read there after
`_FRESH` seconds more. Until that read's question is answered the balance is the one known before:
a principal may overdraw by what it begins on every replica in that time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dynamodb_processor_server.limits.redis.batcher import Batcher
from dynamodb_processor_server.limits.redis.port import BucketDebit, LimitStore
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from dynamodb_processor_server.runtime.token_bucket import BucketName, LocalBucket

_FRESH: Final = 0.25  # seconds for which a balance is good enough


class SharedBuckets:
    """Opens buckets of which `store` has the truth. `clock` gives seconds, never going back."""

    def __init__(self, store: LimitStore, guard: GuardedStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._courier = Batcher("read units", self._deliver)

    def open(self, name: BucketName, capacity: float) -> _SharedBucket:
        """Return the bucket, as a full one until the store has told."""
        return _SharedBucket(name, capacity, self._clock, self._courier.add)

    async def settle(self) -> None:
        """Wait until everything has been sent, or could not be, which is bounded in time."""
        await self._courier.flush()

    async def _deliver(self, buckets: list[_SharedBucket]) -> None:
        takings = [bucket.next_debit() for bucket in buckets]
        try:
            balances = await self._guard.call(
                "read_units", lambda: self._store.debit_buckets(takings)
            )
        except StoreError:
            # It has been counted. What was sent may have been taken, so it is not sent again; the
            # local buckets have it.
            return
        self._guard.outcomes["read_units", "done"] += 1
        for bucket, balance in zip(buckets, balances, strict=True):
            bucket.apply_balance(balance)


class _SharedBucket:
    """What is known here of a bucket: the last balance told, less what was taken since."""

    __slots__ = (
        *("_clock", "_is_waiting", "_local", "_looked_at", "_send", "_unsent"),
        *("capacity", "name"),
    )

    def __init__(
        self,
        name: BucketName,
        capacity: float,
        clock: Callable[[], float],
        send: Callable[[_SharedBucket], None],
    ) -> None:
        self.name = name
        self.capacity = capacity
        self._clock = clock
        self._send = send
        self._local = LocalBucket(capacity, clock)
        self._unsent = 0.0
        self._looked_at = float("-inf")
        self._is_waiting = False

    def balance(self) -> float:
        """Return how many units are left as far as is known."""
        return self._local.balance()

    def refresh(self) -> None:
        """Ask for the balance if the one that is known has become old."""
        if self._clock() - self._looked_at > _FRESH:
            self._look()

    def take(self, units: float) -> None:
        """Take units here, and there soon."""
        self._local.take(units)
        self._unsent += units
        self._look()

    def next_debit(self) -> BucketDebit:
        """Return what is to be sent, which then counts as sent."""
        units, self._unsent, self._is_waiting = self._unsent, 0.0, False
        return BucketDebit(self.name, self.capacity, units)

    def apply_balance(self, balance: float) -> None:
        """Take note of the balance after everything that was sent."""
        self._local.set(balance - self._unsent)

    def _look(self) -> None:
        self._looked_at = self._clock()
        if not self._is_waiting:
            self._is_waiting = True
            self._send(self)
