"""Prometheus metrics of calls."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, Metric
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.runtime.histogram import DURATION_BOUNDS, Histogram
from dynamodb_processor_server.telemetry.families import (
    PREFIX,
    BucketExemplars,
    Values,
    counter,
    gauge,
    histogram,
)
from dynamodb_processor_server.telemetry.labels import Labels

#: Statuses that are exported from the start, at 0: `rate` and `increase` do not count the event
#: with which a series begins, so an alert would miss the first failures of a replica.
_EXPECTED_CODES: Final = (
    "OK", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED", "UNAVAILABLE",
)  # fmt: skip


class _MethodCounts:
    """The calls of one method: running ones, ended ones by status, and their durations."""

    __slots__ = ("active", "codes", "seconds")

    def __init__(self) -> None:
        self.active = 0
        self.codes: dict[str, int] = defaultdict(int)
        self.seconds = Histogram(DURATION_BOUNDS)


class _TableCounts:
    """The reads of one table by cache status, and the items returned and evaluated."""

    __slots__ = ("items", "reads", "scanned")

    def __init__(self) -> None:
        self.reads: dict[str, int] = defaultdict(int)
        self.items = 0
        self.scanned = 0


class CallMetrics(Collector):
    """Calls and their cost.

    Counted in plain objects by the event loop and turned into metrics when they are scraped:
    prometheus_client's own counters lock and look up labels on each call.

    Args:
        registry: Registers the metrics.
        methods: Methods whose series exist before their first call.
        labels: The bounds on tables and principals.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        methods: Collection[str] = (),
        labels: Labels | None = None,
    ) -> None:
        self._methods: dict[str, _MethodCounts] = defaultdict(_MethodCounts)
        for method in methods:
            self._methods[method].codes.update(dict.fromkeys(_EXPECTED_CODES, 0))
        self._tables: dict[str, _TableCounts] = defaultdict(_TableCounts)
        self._principal_units: dict[str, float] = defaultdict(float)
        self._failures: dict[tuple[str, str], int] = defaultdict(int)
        self._labels = labels or Labels()
        registry.register(self)

    def started(self, method: str) -> None:
        """Count a call in."""
        self._methods[method].active += 1

    def ended(self, method: str, code: str, seconds: float) -> None:
        """Count a call out."""
        counts = self._methods[method]
        counts.active -= 1
        counts.codes[code] += 1
        durations = counts.seconds  # counted here: a method of its own would take as long again
        durations.counts[bisect_left(DURATION_BOUNDS, seconds)] += 1
        durations.sum += seconds

    def failed(self, principal: str, reason: str) -> None:
        """Count a call that ended with an error; `principal` is empty if it is unknown."""
        self._failures[self._labels.principals.of(principal), reason] += 1

    def read(self, table: str, cache_status: str, items: int, scanned: int) -> None:
        """Count the items of a call, returned and evaluated."""
        counts = self._tables[table]
        counts.reads[cache_status] += 1
        counts.items += items
        if scanned:
            counts.scanned += scanned

    def consumed(self, principal: Principal, _table: str, units: float) -> None:
        """Count the read units of a request, also if the call it was made for has failed."""
        name = principal.name
        if name not in self._principal_units:
            name = self._labels.principals.of(name)
        self._principal_units[name] += units

    def exemplars(self) -> Mapping[str, BucketExemplars]:
        """Return the exemplars of each method by bucket; none without tracing."""
        return {}

    def collect(self) -> Iterator[Metric]:
        """Yield everything counted so far; runs in the thread that is scraped."""
        methods = list(self._methods.items())
        calls = [
            ((method, code), count)
            for method, counts in methods
            for code, count in list(counts.codes.items())
        ]
        yield counter("calls", "Ended calls, by gRPC status.", ("method", "code"), calls)
        text = "Time from the headers of a call to its end."
        durations = [((method,), counts.seconds) for method, counts in methods]
        exemplars: Mapping[Values, BucketExemplars]
        exemplars = {(method,): each for method, each in self.exemplars().items()}
        yield histogram("call_seconds", text, ("method",), durations, exemplars)
        text = "Calls whose handler is running."
        active = [((method,), counts.active) for method, counts in methods]
        yield gauge("active_calls", text, ("method",), active)
        text = "Calls that ended with an error of the service, by its reason."
        failures = list(self._failures.items())
        yield counter("failures", text, ("principal", "reason"), failures)
        yield from self._reads()
        text = "Read capacity consumed, by the principal that pays."
        units = [((principal,), count) for principal, count in list(self._principal_units.items())]
        yield counter("principal_read_units", text, ("principal",), units)

    def _reads(self) -> Iterator[Metric]:
        name = self._labels.tables.of
        tables = [(name(table), counts) for table, counts in list(self._tables.items())]
        reads = [
            ((table, status), count)
            for table, counts in tables
            for status, count in list(counts.reads.items())
        ]
        text = "Calls that read, by the cache status of their last page."
        yield counter("reads", text, ("table", "cache"), reads)
        items = [((table,), counts.items) for table, counts in tables]
        text = "Items returned, from the cache or from DynamoDB."
        yield counter("items_returned", text, ("table",), items)
        scanned = [((table,), counts.scanned) for table, counts in tables if counts.scanned]
        yield counter("items_scanned", "Items that DynamoDB evaluated.", ("table",), scanned)


def register_gauge(
    registry: CollectorRegistry, name: str, help_text: str, read: Callable[[], float]
) -> None:
    """Add a gauge that is read when it is scraped."""
    Gauge(f"{PREFIX}{name}", help_text, registry=registry).set_function(read)


class CallbackCounter(Collector):
    """A counter that another object keeps, read when it is scraped."""

    def __init__(
        self, registry: CollectorRegistry, name: str, help_text: str, read: Callable[[], float]
    ) -> None:
        self._family = partial(CounterMetricFamily, f"{PREFIX}{name}", help_text)
        self._read = read
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the counter; runs in the thread that is scraped."""
        yield self._family(value=self._read())


class LabelledCounter(Collector):
    """A counter with one label that another object keeps, read when it is scraped.

    `counts` returns the count of each value of the label.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        name: str,
        help_text: str,
        label: str,
        counts: Callable[[], Mapping[str, int]],
    ) -> None:
        self._family = partial(counter, name, help_text, (label,))
        self._counts = counts
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the counter; runs in the thread that is scraped."""
        yield self._family([((value,), count) for value, count in list(self._counts().items())])
