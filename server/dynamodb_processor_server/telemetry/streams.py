"""Metrics of the consumers of DynamoDB streams."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import accumulate
from math import inf
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from dynamodb_processor_server.cache.table_progress import TableProgress
from dynamodb_processor_server.change_streams.stats import AGE_BOUNDS
from dynamodb_processor_server.change_streams.supervisor import ConsumerSupervisor

_PREFIX: Final = "dynamodb_processor_stream_"


class StreamMetrics(Collector):
    """The lag and the invalidations of stream consumers, by table.

    `progress` says how far this replica has dealt with the writes. `now` gives seconds since the
    epoch.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        supervisor: ConsumerSupervisor,
        progress: TableProgress,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._supervisor = supervisor
        self._progress = progress
        self._now = now
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        behind = GaugeMetricFamily(
            f"{_PREFIX}behind_seconds",
            "Seconds since the time up to which every write is known to be processed.",
            labels=("table",),
        )
        ages = HistogramMetricFamily(
            f"{_PREFIX}record_age_seconds",
            "Age of records, by DynamoDB's clock, when their pages had been invalidated.",
            labels=("table",),
        )
        invalidations = CounterMetricFamily(
            f"{_PREFIX}table_invalidations",
            "Invalidations of the whole table, by reason.",
            labels=("table", "reason"),
        )
        failures = CounterMetricFamily(
            f"{_PREFIX}failures", "Requests to the stream that failed.", labels=("table",)
        )
        bounds = (*map(floatToGoString, AGE_BOUNDS), "+Inf")
        for name, consumer in self._supervisor:
            stats = consumer.stats
            behind.add_metric((name,), consumer.lag)
            buckets = list(zip(bounds, accumulate(list(stats.ages)), strict=True))
            ages.add_metric((name,), buckets, stats.age_sum)
            for reason, count in list(stats.table_invalidations.items()):
                invalidations.add_metric((name, reason), count)
            failures.add_metric((name,), stats.failures)
        leases = CounterMetricFamily(
            f"{_PREFIX}lease_failures",
            "Requests to Redis for the lease that had no answer.",
            labels=("table",),
        )
        for name, count in self._supervisor.lease_failures():
            leases.add_metric((name,), count)
        yield from (behind, ages, invalidations, failures, leases, self._ages_of_progress())

    def _ages_of_progress(self) -> Metric:
        ages = GaugeMetricFamily(
            f"{_PREFIX}progress_age_seconds",
            "Seconds since the time before which every write is known to be invalidated here.",
            labels=("table",),
        )
        for name, table in self._supervisor.tables():
            until = self._progress.until(table, table.schema.base)
            if until > -inf:
                ages.add_metric((name,), self._now() - until)
        return ages
