"""Prometheus metrics of requests to DynamoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.telemetry.families import (
    PREFIX,
    BucketExemplars,
    Values,
    counter,
    gauge,
    histogram,
)
from dynamodb_processor_server.telemetry.labels import Labels

#: Outcomes that are exported from a table's first request on, at 0: `rate` does not count the
#: event with which a series begins.
_EXPECTED_OUTCOMES: Final = {"ok": 0, "throttled": 0, "failed": 0, "unreachable": 0}


class BackendMetrics(Collector):
    """Requests to DynamoDB by outcome, also those whose callers have left.

    `exemplars` returns those of each table's durations by bucket.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        backend: Backend,
        labels: Labels | None = None,
        exemplars: Callable[[], Mapping[str, BucketExemplars]] = dict,
    ) -> None:
        self._backend = backend
        self._name = (labels or Labels()).tables.of
        self._exemplars = exemplars
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the backend's counts; runs in the thread that is scraped."""
        tables = [(self._name(table), stats) for table, stats in self._backend.tables()]
        calls = [
            ((table, outcome), count)
            for table, stats in tables
            for outcome, count in {**_EXPECTED_OUTCOMES, **stats.outcomes}.items()
        ]
        made = "Requests to DynamoDB, retries included."
        yield counter("backend_calls", made, ("table", "outcome"), calls)
        text = "Time of a request to DynamoDB, without pauses before retries."
        durations = [((table,), stats.seconds) for table, stats in tables]
        exemplars: Mapping[Values, BucketExemplars]
        exemplars = {(self._name(table),): each for table, each in self._exemplars().items()}
        yield histogram("backend_call_seconds", text, ("table",), durations, exemplars)
        retries = [((table,), stats.retries) for table, stats in tables]
        yield counter("backend_retries", "Requests that were made again.", ("table",), retries)
        units = [
            ((table, index), count)
            for table, stats in tables
            for index, count in list(stats.read_units.items())
        ]
        yield counter("read_units", "Read capacity consumed.", ("table", "index"), units)
        throttles = [
            ((table, *key), count)
            for table, stats in tables
            for key, count in list(stats.throttles.items())
        ]
        text = "Reasons of DynamoDB for throttling a request, by the index that they name."
        yield counter("throttles", text, ("table", "index", "reason"), throttles)
        yield from self._breakers()

    def _breakers(self) -> Iterator[Metric]:
        breakers = self._backend.breakers
        refused = [
            ((self._name(table),), stats.rejected_by_breaker)
            for table, stats in self._backend.tables()
        ]
        text = "Requests that a breaker rejected."
        yield counter("breaker_refusals", text, ("table",), refused)
        text = "Circuit breaker of a table, or of a throttled index: 0 closed, 1 half-open, 2 open."
        states = [
            ((self._name(table), index), float(state.value))
            for table, index, state in breakers.states()
        ]
        yield gauge("breaker_state", text, ("table", "index"), states)
        text = "Partitions whose own breaker is not closed."
        open_partitions = breakers.open_partitions()
        yield GaugeMetricFamily(f"{PREFIX}open_partition_breakers", text, value=open_partitions)
