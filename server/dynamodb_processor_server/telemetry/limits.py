"""Metrics of the limits of principals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import nlargest
from operator import itemgetter
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from dynamodb_processor_server.limits.call_rate import CallRateLimits
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from dynamodb_processor_server.telemetry.families import counter, gauge
from dynamodb_processor_server.telemetry.labels import Labels

_PREFIX: Final = "rate_limit_"
# Of principals and tables, exported by a gauge: either label has a bound, their product has none.
_MAX_PAIRS: Final = 1_000


class LimitMetrics(Collector):
    """The part of its limits that each principal uses, if it has called this replica."""

    def __init__(
        self,
        registry: CollectorRegistry,
        calls: CallRateLimits,
        read_units: ReadUnitLimits,
        planning: PlanningTimeLimits,
        labels: Labels | None = None,
    ) -> None:
        self._calls = calls
        self._read_units = read_units
        self._planning = planning
        self._labels = labels or Labels()
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        principal = self._labels.principals.of
        text = (
            "Part of a window's calls that the principal has made at this replica; table is "
            "empty for the limit over all tables."
        )
        yield self._used("calls_used", text, self._calls.used())
        text = (
            "Part of its read units that the principal has used; over 1 is debt, and table is "
            "empty for the limit over all tables."
        )
        yield self._used("read_units_used", text, self._read_units.used())
        text = (
            "Part of its planning time that the principal has used at this replica; over 1 is debt."
        )
        planned = [((principal(name),), used) for name, used in self._planning.used()]
        yield gauge(f"{_PREFIX}planning_used", text, ("principal",), planned)
        text = "Processor time for decoding, parsing and planning the principal's requests."
        spent = [((principal(name),), seconds) for name, seconds in self._planning.seconds()]
        yield counter("planning_seconds", text, ("principal",), spent)

    def _used(self, name: str, text: str, used: Iterable[tuple[str, str, float]]) -> Metric:
        labels = self._labels
        values = [
            ((labels.principals.of(principal), labels.tables.of(table)), part)
            for principal, table, part in used
        ]
        highest = nlargest(_MAX_PAIRS, values, key=itemgetter(1))
        return gauge(f"{_PREFIX}{name}", text, ("principal", "table"), highest)


class SharedLimitMetrics(Collector):
    """Outcomes of operations on the limits that replicas share."""

    def __init__(self, registry: CollectorRegistry, guard: GuardedStore) -> None:
        self._guard = guard
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        text = "Operations on limits in Redis, by outcome, with rate_limit_store=redis."
        outcomes = list(self._guard.outcomes.items())
        yield counter(f"{_PREFIX}operations", text, ("operation", "outcome"), outcomes)
        text = (
            "Circuit breaker of shared limits: 0 closed, 1 half-open, 2 open. It needs "
            "rate_limit_store=redis."
        )
        state = float(self._guard.breaker.state.value)
        yield gauge(f"{_PREFIX}breaker_state", text, (), [((), state)])
