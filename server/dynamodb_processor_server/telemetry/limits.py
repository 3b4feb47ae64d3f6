"""Metrics of the limits of principals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.limits.call_rate import CallRateLimits
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.runtime.guarded_store import GuardedStore

_PREFIX: Final = "dynamodb_processor_rate_limit_"


class LimitMetrics(Collector):
    """The part of its limits that each principal uses, if it has called this replica."""

    def __init__(
        self,
        registry: CollectorRegistry,
        calls: CallRateLimits,
        read_units: ReadUnitLimits,
        planning: PlanningTimeLimits,
    ) -> None:
        self._calls = calls
        self._read_units = read_units
        self._planning = planning
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        calls = GaugeMetricFamily(
            f"{_PREFIX}calls_used",
            "Part of a window's calls that the principal has made at this replica; table is "
            "empty for the limit over all tables.",
            labels=("principal", "table"),
        )
        for principal, table, used in self._calls.used():
            calls.add_metric((principal, table), used)
        yield calls
        units = GaugeMetricFamily(
            f"{_PREFIX}read_units_used",
            "Part of its read units that the principal has used; over 1 is debt, and table is "
            "empty for the limit over all tables.",
            labels=("principal", "table"),
        )
        for principal, table, used in self._read_units.used():
            units.add_metric((principal, table), used)
        yield units
        planning = GaugeMetricFamily(
            f"{_PREFIX}planning_used",
            "Part of its planning time that the principal has used at this replica; over 1 is "
            "debt.",
            labels=("principal",),
        )
        for principal, used in self._planning.used():
            planning.add_metric((principal,), used)
        yield planning
        seconds = CounterMetricFamily(
            "dynamodb_processor_planning_seconds",
            "Processor time for decoding, parsing and planning the principal's requests.",
            labels=("principal",),
        )
        for principal, spent in self._planning.seconds():
            seconds.add_metric((principal,), spent)
        yield seconds


class SharedLimitMetrics(Collector):
    """Outcomes of operations on the limits that replicas share."""

    def __init__(self, registry: CollectorRegistry, guard: GuardedStore) -> None:
        self._guard = guard
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        operations = CounterMetricFamily(
            f"{_PREFIX}operations",
            "Operations on limits in Redis, by outcome, with rate_limit_store=redis.",
            labels=("operation", "outcome"),
        )
        for labels, count in list(self._guard.outcomes.items()):
            operations.add_metric(labels, count)
        yield operations
        yield GaugeMetricFamily(
            f"{_PREFIX}breaker_state",
            "Circuit breaker of shared limits: 0 closed, 1 half-open, 2 open. It needs "
            "rate_limit_store=redis.",
            value=self._guard.breaker.state.value,
        )
