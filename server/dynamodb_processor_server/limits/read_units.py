"""Read units: limits on a principal's use of DynamoDB's capacity per minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.call_rate import RateClass, over_limit
from dynamodb_processor_server.runtime.bounded_state import SweptDict
from dynamodb_processor_server.runtime.token_bucket import (
    Bucket,
    BucketName,
    LocalBucket,
    is_full,
    seconds_to_pay,
)

_MINUTE: Final = 60.0  # seconds


def _local(name: BucketName, capacity: float) -> Bucket:
    return LocalBucket(capacity, time.monotonic)


class ReadUnitLimits:
    """Read units per minute for each principal, over all tables and on each.

    The units of a read are known only when it is done, so they are charged then, and reads are
    refused while the balance is below zero: a principal may run into debt by the units of its
    running reads. These token buckets are our own, because the windows of the `limits` library
    never take more than is left.

    If a row rule applies to a principal, the units of its reads may reveal hidden items. So its
    balance is not shown, and a refusal's advice does not depend on the debt; see
    docs/architecture/security.md for the information in a refusal itself.
    """

    def __init__(
        self,
        classes: Mapping[str, RateClass],
        open_bucket: Callable[[BucketName, float], Bucket] = _local,
    ) -> None:
        """Create limits.

        Args:
            classes: The rate classes by name.
            open_bucket: Makes the bucket of a name and a capacity. By default buckets are full and
                in this process, so that each replica has the whole limit.
        """
        self._open = open_bucket
        self._limits = {
            name: limits
            for name, one in classes.items()
            if (limits := (one.read_units_per_minute, one.table_read_units_per_minute))
            != (None, None)
        }
        self._buckets: SweptDict[BucketName, Bucket] = SweptDict(is_full)

    @property
    def is_limited(self) -> bool:
        """Whether any rate class has a limit."""
        return bool(self._limits)

    def check(self, principal: Principal, table: str) -> None:
        """Raise RateLimited if the principal is in debt, in all or on the table.

        Args:
            principal: The caller.
            table: The logical name of the table of the read, which must exist.
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
        """Charge the units of a read, even beyond the balance."""
        if units and principal.rate_class in self._limits:
            for _, bucket in self._buckets_of(principal, table):
                bucket.take(units)

    def remaining(self, principal: Principal, table: str) -> int | None:
        """Return the whole units that are left for reads of the table, at least 0.

        None if there is no limit, or if the balance must not be shown.
        """
        if principal.rate_class not in self._limits or _is_ruled(principal):
            return None
        balances = (bucket.balance() for _, bucket in self._buckets_of(principal, table))
        return max(0, int(min(balances)))

    def used(self) -> Iterator[tuple[str, str, float]]:
        """Yield principals, tables (empty for all), and the used part of each limit.

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
                    bucket = self._buckets.add(key, self._open(key, limit))
                found.append((name, bucket))
        return found


def _is_ruled(principal: Principal) -> bool:
    return any(grant.rule is not None for grant in principal.grants)
