"""How far the writes to each table have been dealt with in the cache of this replica.

A claim names an access path of a table and a time: every write that was finished before that time
has superseded the cached pages of the path that it changed. The replica that consumes the table's
stream makes claims, the others receive them after the invalidations that they speak for
(`cache.redis.progress_publisher`). Superseded pages do not come back, so a claim stays true: it
needs no end when Redis is lost, and a later one only adds to it.

A claim is for one path, and for the attributes of its key. A replica that has not noticed a new
index yet invalidates no page of it, and so claims nothing about it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from math import inf

import structlog

from dynamodb_processor_server.catalog.schema import AccessPath, Table
from dynamodb_processor_server.query.planning.tags import Tag, progress_tag

_log = structlog.get_logger(__name__)


class TableProgress:
    """The times until which writes have been dealt with here, by access path.

    Times are in seconds since the epoch, by the clock of this replica, which `now` reads. Clocks of
    two replicas differ by `clock_skew` seconds at most.

    Attributes:
        own: The claims that this replica has made itself.
    """

    def __init__(self, clock_skew: float, now: Callable[[], float] = time.time) -> None:
        self.own: dict[Tag, float] = {}
        self._received: dict[Tag, float] = {}
        self._clock_skew = clock_skew
        self._now = now
        self._clocks_agree = True

    def until(self, table: Table, path: AccessPath) -> float:
        """Return the time before which every finished write is dealt with; -inf if unknown."""
        tag = progress_tag(table.schema.identity, path)
        return max(self.own.get(tag, -inf), self._received.get(tag, -inf))

    def claim(self, table: Table, until: float) -> None:
        """Claim that this replica has dealt with every write finished before a time."""
        for path in table.schema.all_paths:
            self._advance(self.own, progress_tag(table.schema.identity, path), until)

    def receive(self, claims: Mapping[Tag, float]) -> None:
        """Take over another replica's claims, whose times are by its clock."""
        latest = self._now() + self._clock_skew
        for tag, until in claims.items():
            if until <= latest:
                self._advance(self._received, tag, until - self._clock_skew)
            elif self._clocks_agree:
                # No replica claims the future: its clock is faster than `clock_skew` allows.
                self._clocks_agree = False
                _log.warning("replica_clock_ahead", seconds=round(until - self._now(), 1))

    def _advance(self, claims: dict[Tag, float], tag: Tag, until: float) -> None:
        known = claims.get(tag, -inf)
        if until > known or known > self._now():  # the latter if the clock was set back
            claims[tag] = until
