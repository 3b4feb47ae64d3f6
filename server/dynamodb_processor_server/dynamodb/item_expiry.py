"""The earliest TTL expiry among the items of a page."""

from __future__ import annotations

from collections.abc import Iterable

from dynamodb_processor_server.catalog.logical_view import expiry
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan


class EarliestExpiry:
    """Finds the earliest time in the table's TTL attribute among the items that are added.

    `until` is in seconds since the epoch, None while no item expires. `now` is the start of the
    read.
    """

    def __init__(self, plan: Plan, now: float) -> None:
        self.until: float | None = None
        self._attribute = plan.table.config.time_to_live
        self._now = now

    def add(self, items: Iterable[WireItem]) -> None:
        """Take items into account."""
        name, now, until = self._attribute, self._now, self.until
        if name is None:
            return
        for item in items:
            moment = expiry(item.get(name), now)
            if moment is not None and (until is None or moment < until):
                until = moment
        self.until = until
