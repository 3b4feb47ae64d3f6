"""Read units: how much of DynamoDB's capacity a principal may use per minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.call_rate import RateClass, over_limit
from dynamodb_processor_server.runtime.token_bucket import (
    Bucket,
    BucketName,
    LocalBucket,
    seconds_to_pay,
)

_MINUTE: Final = 60.0  # seconds


def _local(name: BucketName, capacity: float) -> Bucket:
    return LocalBucket(capacity, time.monotonic)


class ReadUnitLimits:
    """Read units per minute for each principal, over all tables and on each.

    What a read takes is known when it is done, so it is charged then, and reads are refused while
    the balance is below zero: a principal may run into debt by what its reads under way take. Token
    buckets of our own, because the windows of the `limits` library never take more than is left.

    Where a row rule holds for a principal, what its reads take may tell of items that it hides. So
    nothing is told of its balance, and a refusal's advice is the same whatever the debt; see
    docs/architecture/security.md for what a refusal itself tells.
    """

    def __init__(
        self,
        classes: Mapping[str, RateClass],
        open_bucket: Callable[[BucketName, float], Bucket] = _local,
    ) -> None:
        """Create limits.

        Args:
            classes: The rate classes by name.
            open_bucket: Makes the bucket of a name and a capacity; those made unless it is given
                are full and in this process, so that each replica has the whole limit.
        """
        self._open = open_bucket
        self._limits = {
            name: limits
            for name, one in classes.items()
            if (limits := (one.read_units_per_minute, one.table_read_units_per_minute))
            != (None, None)
        }
        self._buckets: dict[BucketName, Bucket] = {}

    def check(self, principal: Principal, table: str) -> None:
        """Raise RateLimited if the principal is in debt, in all or on the table.

        Args:
            principal: Who calls.
            table: The logical name of the table that is to be read, which exists.
        """
        if principal.rate_class not in self._limits:
            return
        for name, bucket in self._buckets_of(principal, table):
            bucket.refresh()
            balance = bucket.balance()
            if balance < 0:
                ruled = _is_ruled(principal)
                wait = _MINUTE if ruled else seconds_to_pay(balance, bucket.capacity)
                limit = f"{bucket.capacity:g} read units per minute"
                raise over_limit(principal, name, limit, wait)

    def charge(self, principal: Principal, table: str, units: float) -> None:
        """Take what a read has consumed, whether it is left or not."""
        if units and principal.rate_class in self._limits:
            for _, bucket in self._buckets_of(principal, table):
                bucket.take(units)

    def remaining(self, principal: Principal, table: str) -> int | None:
        """Return the whole units that are left for reads of the table, at least 0.

        None where there is no limit, or it must not be told.
        """
        if principal.rate_class not in self._limits or _is_ruled(principal):
            return None
        balances = (bucket.balance() for _, bucket in self._buckets_of(principal, table))
        return max(0, int(min(balances)))

    def used(self) -> Iterator[tuple[str, str, float]]:
        """Yield principals, tables (empty for all), and the part of its units that each has used.

        More than 1 is debt. Safe in another thread.
        """
        for (_, principal, table), bucket in list(self._buckets.items()):
            yield principal, table, 1 - bucket.balance() / bucket.capacity

    def _buckets_of(self, principal: Principal, table: str) -> list[tuple[str, Bucket]]:
        in_all, on_table = self._limits[principal.rate_class]
        found = []
        for name, limit in (("", in_all), (table, on_table)):
            if limit is not None:
                key = principal.rate_class, principal.name, name
                bucket = self._buckets.get(key)
                if bucket is None:
                    bucket = self._buckets[key] = self._open(key, limit)
                found.append((name, bucket))
        return found


def _is_ruled(principal: Principal) -> bool:
    return any(grant.rule is not None for grant in principal.grants)
