"""Metrics of the cache that replicas share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.cache.invalidator import SharedInvalidator
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache

_PREFIX: Final = "dynamodb_processor_shared_cache_"


class SharedCacheMetrics(Collector):
    """Outcomes of operations on the shared cache, and whether invalidations arrive."""

    def __init__(
        self, registry: CollectorRegistry, shared: SharedPageCache, invalidator: SharedInvalidator
    ) -> None:
        self._shared = shared
        self._invalidator = invalidator
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        operations = CounterMetricFamily(
            f"{_PREFIX}operations",
            "Operations on Redis, by outcome.",
            labels=("operation", "outcome"),
        )
        for outcomes in (self._shared.guard.outcomes, self._invalidator.outcomes):
            for labels, count in list(outcomes.items()):
                operations.add_metric(labels, count)
        for kind, count in list(self._shared.invalidation_log.failures.items()):
            operations.add_metric(("poll", kind), count)
        yield operations
        resets = CounterMetricFamily(
            f"{_PREFIX}resets",
            "How often this replica dropped all its cached pages, by reason.",
            labels=("reason",),
        )
        for reason, count in list(self._shared.invalidation_log.resets.items()):
            resets.add_metric((reason,), count)
        yield resets
        yield GaugeMetricFamily(
            f"{_PREFIX}fresh",
            "1 if this replica has received every acknowledged invalidation, else 0.",
            value=float(self._shared.invalidation_log.fresh),
        )
        yield GaugeMetricFamily(
            f"{_PREFIX}breaker_state",
            "Circuit breaker of the shared cache: 0 closed, 1 half-open, 2 open.",
            value=self._shared.guard.breaker.state.value,
        )
