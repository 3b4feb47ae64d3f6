"""Read units: how much of DynamoDB's capacity a principal may use per minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.access.principals import Principal
from dynamodb_processor_server.access.rate_limits import RateClass
from dynamodb_processor_server.errors import RateLimited

_MINUTE: Final = 60.0  # seconds


class ReadUnitLimits:
    """Read units per minute for each principal, over all tables and on each.

    What a read takes is known when it is done, so it is charged then, and reads are refused while
    the balance is below zero: a principal may run into debt by what its reads under way take. In
    this process: with several replicas, each has the whole limit. Token buckets of our own, because
    the windows of the `limits` library never take more than is left.

    Where a row rule holds for a principal, what its reads take may tell of items that it hides. So
    nothing is told of its balance, and a refusal's advice is the same whatever the debt; see
    docs/security.md for what a refusal itself tells.
    """

    def __init__(
        self,
        classes: Mapping[str, RateClass],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create limits of which nothing has been used.

        Args:
            classes: The rate classes by name.
            clock: Seconds, never going back.
        """
        self._clock = clock
        self._limits = {
            name: limits
            for name, one in classes.items()
            if (limits := (one.read_units_per_minute, one.table_read_units_per_minute))
            != (None, None)
        }
        # By principal's rate class, its name and the table; the principal's own has no table.
        self._buckets: dict[tuple[str, str, str], _Bucket] = {}

    def check(self, principal: Principal, table: str) -> None:
        """Raise RateLimited if the principal is in debt, in all or on the table.

        Args:
            principal: Who calls.
            table: The logical name of the table that is to be read, which exists.
        """
        if principal.rate_class not in self._limits:
            return
        for name, bucket in self._buckets_of(principal, table):
            balance = bucket.balance(self._clock())
            if balance < 0:
                wait = _MINUTE if _is_ruled(principal) else -balance / bucket.per_second
                raise RateLimited(
                    f"{principal.name}/{name}" if name else principal.name,
                    f"over the limit of {bucket.capacity:g} read units per minute"
                    + (f" on {name}" if name else ""),
                    wait,
                )

    def charge(self, principal: Principal, table: str, units: float) -> None:
        """Take what a read has consumed, whether it is left or not."""
        if units and principal.rate_class in self._limits:
            now = self._clock()
            for _, bucket in self._buckets_of(principal, table):
                bucket.take(units, now)

    def remaining(self, principal: Principal, table: str) -> int | None:
        """Return the whole units that are left for reads of the table, at least 0.

        None where there is no limit, or it must not be told.
        """
        if principal.rate_class not in self._limits or _is_ruled(principal):
            return None
        now = self._clock()
        balances = (bucket.balance(now) for _, bucket in self._buckets_of(principal, table))
        return max(0, int(min(balances)))

    def _buckets_of(self, principal: Principal, table: str) -> list[tuple[str, _Bucket]]:
        in_all, on_table = self._limits[principal.rate_class]
        found = []
        for name, limit in (("", in_all), (table, on_table)):
            if limit is not None:
                key = principal.rate_class, principal.name, name
                bucket = self._buckets.get(key)
                if bucket is None:
                    bucket = self._buckets[key] = _Bucket(limit, limit, self._clock())
                found.append((name, bucket))
        return found


@dataclass(slots=True)
class _Bucket:
    """Units that come back evenly, up to those of a minute; `left` of them at the time `at`."""

    capacity: float
    left: float
    at: float

    @property
    def per_second(self) -> float:
        return self.capacity / _MINUTE

    def balance(self, now: float) -> float:
        return min(self.capacity, self.left + (now - self.at) * self.per_second)

    def take(self, units: float, now: float) -> None:
        self.left, self.at = self.balance(now) - units, now


def _is_ruled(principal: Principal) -> bool:
    return any(grant.rule is not None for grant in principal.grants)
