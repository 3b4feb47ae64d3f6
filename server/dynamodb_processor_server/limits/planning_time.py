"""Planning time: the processor time that a principal's requests may take before their reads.

All callers share one event loop, so its time has to be divided. A call with a remembered plan takes
some 0.2 ms; parsing and planning a new query takes up to a few hundred times as long.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.call_rate import RateClass, over_limit
from dynamodb_processor_server.runtime.bounded_state import BoundedNames, SweptDict
from dynamodb_processor_server.runtime.token_bucket import LocalBucket, is_full

_PERIOD: Final = 4.0  # seconds; their planning time may be used at once


class PlanningTimeLimits:
    """Seconds of processor time per second for each principal, counted in this process.

    The time of planning is known only when it is done, so it is charged then, and work is refused
    while the balance is below zero. Replicas never share these limits, even if they share those of
    calls: each has an event loop of its own to protect.
    """

    def __init__(
        self, classes: Mapping[str, RateClass], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create unused limits.

        Args:
            classes: The rate classes by name.
            clock: Seconds, never going back.
        """
        self._shares = {
            name: share
            for name, one in classes.items()
            if (share := one.planning_seconds_per_second) is not None
        }
        self._clock = clock
        self._buckets: SweptDict[tuple[str, str], LocalBucket] = SweptDict(is_full)
        self._names = BoundedNames()
        self._seconds: dict[str, float] = {}

    def check(self, principal: Principal, *, begun: bool = False) -> None:
        """Raise RateLimited if the principal is in debt.

        A call that has `begun` may continue until the debt is as large as the bucket: otherwise the
        work done for it would be lost, again and again.
        """
        share = self._shares.get(principal.rate_class)
        if share is None:
            return
        bucket = self._bucket(principal, share)
        balance = bucket.balance()
        if balance < (-bucket.capacity if begun else 0):
            limit = f"{share:g} s of planning per second"
            raise over_limit(principal, "", limit, -balance / share)

    def charge(self, principal: Principal, seconds: float) -> None:
        """Charge seconds of work, even beyond the balance; a negative number returns them."""
        name = self._names(principal.name)
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds
        share = self._shares.get(principal.rate_class)
        if share is not None:
            self._bucket(principal, share).take(seconds)

    def used(self) -> Iterator[tuple[str, float]]:
        """Yield principals and the used part of their time, more than 1 in debt.

        Safe in another thread.
        """
        for (_, principal), bucket in list(self._buckets.items()):
            yield principal, 1 - bucket.balance() / bucket.capacity

    def seconds(self) -> Iterator[tuple[str, float]]:
        """Yield principals and the seconds of their planning so far, by `BoundedNames`.

        Safe in another thread.
        """
        yield from list(self._seconds.items())

    def _bucket(self, principal: Principal, share: float) -> LocalBucket:
        key = principal.rate_class, principal.name
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets.add(key, LocalBucket(share * _PERIOD, self._clock, _PERIOD))
        return bucket
