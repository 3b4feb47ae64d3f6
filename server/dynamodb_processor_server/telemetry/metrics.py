"""Prometheus metrics of calls and of requests to DynamoDB."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
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


class _MethodCounts:
    """The calls of one method: running ones, ended ones by status, and their durations."""

    __slots__ = ("active", "buckets", "codes", "seconds")

    def __init__(self) -> None:
        self.active = 0
        self.codes: dict[str, int] = defaultdict(int)
        self.buckets = [0] * (len(_SECONDS) + 1)
        self.seconds = 0.0


class _TableCounts:
    """The reads of one table by cache status, and the items returned and evaluated."""

    __slots__ = ("items", "reads", "scanned")

    def __init__(self) -> None:
        self.reads: dict[str, int] = defaultdict(int)
        self.items = 0
        self.scanned = 0


class CallMetrics(Collector):
    """Calls and their cost. Names of tables are the catalog's, so their number is bounded.

    Counted in plain objects by the event loop and turned into metrics when they are scraped:
    prometheus_client's own counters lock and look up labels on each call.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._methods: dict[str, _MethodCounts] = defaultdict(_MethodCounts)
        self._tables: dict[str, _TableCounts] = defaultdict(_TableCounts)
        self._units: dict[str, float] = defaultdict(float)
        self._principal_units: dict[str, float] = defaultdict(float)
        registry.register(self)

    def started(self, method: str) -> None:
        """Count a call in."""
        self._methods[method].active += 1

    def ended(self, method: str, code: str, seconds: float) -> None:
        """Count a call out."""
        counts = self._methods[method]
        counts.active -= 1
        counts.codes[code] += 1
        counts.buckets[bisect_left(_SECONDS, seconds)] += 1
        counts.seconds += seconds

    def read(self, table: str, cache_status: str, items: int, scanned: int) -> None:
        """Count the items of a call, returned and evaluated."""
        counts = self._tables[table]
        counts.reads[cache_status] += 1
        counts.items += items
        if scanned:
            counts.scanned += scanned

    def consumed(self, table: str, principal: str, units: float) -> None:
        """Count the read units of a request, also if the call it was made for has failed."""
        self._units[table] += units
        self._principal_units[principal] += units

    def collect(self) -> Iterator[Metric]:
        """Yield everything counted so far; runs in the thread that is scraped."""
        methods, tables = list(self._methods.items()), list(self._tables.items())
        calls = {
            (method, code): count
            for method, counts in methods
            for code, count in list(counts.codes.items())
        }
        yield _counter("calls", "Ended calls, by gRPC status.", ("method", "code"), calls)
        yield _histogram(methods)
        active = GaugeMetricFamily(
            f"{_PREFIX}active_calls", "Calls whose handler is running.", labels=("method",)
        )
        for method, counts in methods:
            active.add_metric((method,), counts.active)
        yield active
        text = "Calls that read, by the cache status of their last page."
        reads = {
            (table, status): count
            for table, counts in tables
            for status, count in list(counts.reads.items())
        }
        yield _counter("reads", text, ("table", "cache"), reads)
        text = "Items returned, from the cache or from DynamoDB."
        items = {table: counts.items for table, counts in tables}
        yield _counter("items_returned", text, ("table",), items)
        scanned = {table: counts.scanned for table, counts in tables if counts.scanned}
        yield _counter("items_scanned", "Items that DynamoDB evaluated.", ("table",), scanned)
        yield _counter("read_units", "Read capacity consumed.", ("table",), self._units)
        by_principal = "Read capacity consumed, by the principal that pays."
        units = self._principal_units
        yield _counter("principal_read_units", by_principal, ("principal",), units)


def _histogram(methods: Iterable[tuple[str, _MethodCounts]]) -> Metric:
    family = HistogramMetricFamily(
        f"{_PREFIX}call_seconds",
        "Time from the headers of a call to its end.",
        labels=("method",),
    )
    bounds = (*map(floatToGoString, _SECONDS), "+Inf")
    for method, counts in methods:
        if counts.codes:
            buckets = list(zip(bounds, accumulate(counts.buckets), strict=True))
            family.add_metric((method,), buckets, counts.seconds)
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
