"""Read units that all replicas take from the same buckets.

No read waits for the store. A read's units are taken from the local bucket at once and sent to the
store; the response, which includes the units of other replicas, replaces the local balance. One
batch is under way at a time, and later debits go with the next. So the units that one replica
consumed are in the store after at most two round trips, and another replica gets them at its
principal's first read there after `_FRESH` seconds more. Until the response to that read's request
the earlier balance counts: a principal may overdraw by the reads that it starts on every replica in
that time.
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
    """Opens buckets whose balances `store` keeps. `clock` gives seconds and never goes back."""

    def __init__(self, store: LimitStore, guard: GuardedStore, clock: Callable[[], float]) -> None:
        self._store = store
        self._guard = guard
        self._clock = clock
        self._batcher = Batcher("read units", self._deliver)

    def open(self, name: BucketName, capacity: float) -> _SharedBucket:
        """Return the bucket, as a full one until the first response of the store."""
        return _SharedBucket(name, capacity, self._clock, self._batcher.add)

    async def flush(self) -> None:
        """Wait until all debits were sent or have failed, which takes a bounded time."""
        await self._batcher.flush()

    async def _deliver(self, buckets: list[_SharedBucket]) -> None:
        debits = [bucket.next_debit() for bucket in buckets]
        try:
            balances = await self._guard.call(
                "read_units", lambda: self._store.debit_buckets(debits)
            )
        except StoreError:
            # It has been counted. The debits may have been applied, so they are not sent again; the
            # local buckets include them.
            return
        self._guard.outcomes["read_units", "done"] += 1
        for bucket, balance in zip(buckets, balances, strict=True):
            bucket.apply_balance(balance)


class _SharedBucket:
    """A local copy of a shared bucket: its last known balance, less the units taken since."""

    __slots__ = (
        *("_clock", "_is_waiting", "_local", "_requested_at", "_send", "_unsent"),
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
        self._requested_at = float("-inf")
        self._is_waiting = False

    def balance(self) -> float:
        """Return the number of units left, as far as known."""
        return self._local.balance()

    def refresh(self) -> None:
        """Request the balance if the known one is older than `_FRESH` seconds."""
        if self._clock() - self._requested_at > _FRESH:
            self._request_balance()

    def take(self, units: float) -> None:
        """Take units locally, and send them to the store soon."""
        self._local.take(units)
        self._unsent += units
        self._request_balance()

    def next_debit(self) -> BucketDebit:
        """Return the units to send, which then count as sent."""
        units, self._unsent, self._is_waiting = self._unsent, 0.0, False
        return BucketDebit(self.name, self.capacity, units)

    def apply_balance(self, balance: float) -> None:
        """Set the store's balance, which includes all units that were sent."""
        self._local.set(balance - self._unsent)

    def _request_balance(self) -> None:
        self._requested_at = self._clock()
        if not self._is_waiting:
            self._is_waiting = True
            self._send(self)
