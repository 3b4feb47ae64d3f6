"""Prometheus metrics of calls and of requests to DynamoDB."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from dynamodb_processor_server.dynamodb.backend import Backend

_PREFIX: Final = "dynamodb_processor_"
_SECONDS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class CallMetrics(Collector):
    """Calls and their cost. Names of tables are the catalog's, so their number is bounded.

    Counted in plain dicts by the event loop and turned into metrics when they are scraped:
    prometheus_client's own counters lock and look up labels on each call.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._active: dict[str, int] = defaultdict(int)
        self._calls: dict[tuple[str, str], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = defaultdict(lambda: [0] * (len(_SECONDS) + 1))
        self._seconds: dict[str, float] = defaultdict(float)
        self._reads: dict[tuple[str, str], int] = defaultdict(int)
        self._items: dict[str, int] = defaultdict(int)
        self._scanned: dict[str, int] = defaultdict(int)
        self._units: dict[str, float] = defaultdict(float)
        self._principal_units: dict[str, float] = defaultdict(float)
        registry.register(self)

    def started(self, method: str) -> None:
        """Count a call in."""
        self._active[method] += 1

    def ended(self, method: str, code: str, seconds: float) -> None:
        """Count a call out."""
        self._active[method] -= 1
        self._calls[method, code] += 1
        self._buckets[method][bisect_left(_SECONDS, seconds)] += 1
        self._seconds[method] += seconds

    def read(self, table: str, cache_status: str, items: int, scanned: int) -> None:
        """Count the items of a call, returned and evaluated."""
        self._reads[table, cache_status] += 1
        self._items[table] += items
        if scanned:
            self._scanned[table] += scanned

    def consumed(self, table: str, principal: str, units: float) -> None:
        """Count the read units of a request, also if the call it was made for has failed."""
        self._units[table] += units
        self._principal_units[principal] += units

    def collect(self) -> Iterator[Metric]:
        """Yield everything counted so far; runs in the thread that is scraped."""
        yield _counter("calls", "Ended calls, by gRPC status.", ("method", "code"), self._calls)
        yield self._histogram()
        active = GaugeMetricFamily(
            f"{_PREFIX}active_calls", "Calls whose handler is running.", labels=("method",)
        )
        for method, count in list(self._active.items()):
            active.add_metric((method,), count)
        yield active
        reads = "Calls that read, by the cache status of their last page."
        yield _counter("reads", reads, ("table", "cache"), self._reads)
        yield _counter(
            "items_returned",
            "Items returned, from the cache or from DynamoDB.",
            ("table",),
            self._items,
        )
        yield _counter("items_scanned", "Items that DynamoDB evaluated.", ("table",), self._scanned)
        yield _counter("read_units", "Read capacity consumed.", ("table",), self._units)
        by_principal = "Read capacity consumed, by the principal that pays."
        units = self._principal_units
        yield _counter("principal_read_units", by_principal, ("principal",), units)

    def _histogram(self) -> Metric:
        family = HistogramMetricFamily(
            f"{_PREFIX}call_seconds",
            "Time from the headers of a call to its end.",
            labels=("method",),
        )
        for method, counts in list(self._buckets.items()):
            cumulative = accumulate(counts)
            bounds = (*map(floatToGoString, _SECONDS), "+Inf")
            buckets = list(zip(bounds, cumulative, strict=True))
            family.add_metric((method,), buckets, self._seconds[method])
        return family


class BackendMetrics(Collector):
    """Requests to DynamoDB by outcome, also those whose callers have left."""

    def __init__(self, registry: CollectorRegistry, backend: Backend) -> None:
        self._backend = backend
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the backend's counts; runs in the thread that is scraped."""
        tables = list(self._backend.tables())
        calls = {
            (table, outcome): count
            for table, record in tables
            for outcome, count in list(record.outcomes.items())
        }
        retries = {table: record.retries for table, record in tables}
        made = "Requests to DynamoDB, retries included."
        yield _counter("backend_calls", made, ("table", "outcome"), calls)
        yield _counter("backend_retries", "Requests that were made again.", ("table",), retries)
        rejected = {table: record.rejected_by_breaker for table, record in tables}
        refused = "Requests that a breaker rejected."
        yield _counter("breaker_refusals", refused, ("table",), rejected)
        throttles = {
            (table, *key): count
            for table, record in tables
            for key, count in list(record.throttles.items())
        }
        text = "Reasons of DynamoDB for throttling a request, by the index that they name."
        yield _counter("throttles", text, ("table", "index", "reason"), throttles)
        text = "Circuit breaker of a table, or of a throttled index: 0 closed, 1 half-open, 2 open."
        state = GaugeMetricFamily(f"{_PREFIX}breaker_state", text, labels=("table", "index"))
        for table, resource, each in self._backend.breakers.states():
            state.add_metric((table, resource), each.value)
        yield state
        text = "Partitions whose own breaker is not closed."
        yield GaugeMetricFamily(
            f"{_PREFIX}open_partition_breakers",
            text,
            value=self._backend.breakers.open_partitions(),
        )


def _counter(
    name: str, text: str, labels: tuple[str, ...], counts: Mapping[Any, float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(f"{_PREFIX}{name}", text, labels=labels)
    for values, count in list(counts.items()):
        family.add_metric((values,) if isinstance(values, str) else values, count)
    return family


def register_gauge(
    registry: CollectorRegistry, name: str, help_text: str, read: Callable[[], float]
) -> None:
    """Add a gauge that is read when it is scraped."""
    Gauge(f"{_PREFIX}{name}", help_text, registry=registry).set_function(read)


class CallbackCounter(Collector):
    """A counter that another object keeps, read when it is scraped."""

    def __init__(
        self, registry: CollectorRegistry, name: str, help_text: str, read: Callable[[], float]
    ) -> None:
        self._family = partial(CounterMetricFamily, f"{_PREFIX}{name}", help_text)
        self._read = read
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the counter; runs in the thread that is scraped."""
        yield self._family(value=self._read())
