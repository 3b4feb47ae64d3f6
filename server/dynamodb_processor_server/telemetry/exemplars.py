"""Exemplars: traces of single calls beside the buckets of a histogram that count them."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Exemplar

from dynamodb_processor_server.runtime.histogram import DURATION_BOUNDS
from dynamodb_processor_server.telemetry.families import BucketExemplars
from dynamodb_processor_server.telemetry.labels import Labels
from dynamodb_processor_server.telemetry.metrics import CallMetrics


class Exemplars:
    """The last recorded duration in each bucket of histograms, by a name.

    Args:
        trace: Returns the labels of the current trace, none if it is not recorded.
        now: Returns seconds since the epoch.
    """

    def __init__(
        self, trace: Callable[[], Mapping[str, str]], now: Callable[[], float] = time.time
    ) -> None:
        self._trace = trace
        self._now = now
        self._last: dict[str, list[Exemplar | None]] = {}

    def note(self, name: str, seconds: float) -> None:
        """Note a duration of the current trace."""
        if trace := self._trace():
            buckets = self._last.get(name)
            if buckets is None:
                buckets = self._last[name] = [None] * (len(DURATION_BOUNDS) + 1)
            exemplar = Exemplar(dict(trace), seconds, self._now())
            buckets[bisect_left(DURATION_BOUNDS, seconds)] = exemplar

    def by_name(self) -> dict[str, BucketExemplars]:
        """Return the exemplars of each name by bucket; safe in another thread."""
        return {name: tuple(buckets) for name, buckets in list(self._last.items())}


class CallMetricsWithExemplars(CallMetrics):
    """Metrics of calls whose durations have exemplars; see `CallMetrics`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        methods: list[str],
        labels: Labels,
        exemplars: Exemplars,
    ) -> None:
        self._exemplars = exemplars
        super().__init__(registry, methods, labels)

    def ended(self, method: str, code: str, seconds: float) -> None:
        """Count a call out, and note it as an exemplar if it is recorded."""
        super().ended(method, code, seconds)
        self._exemplars.note(method, seconds)

    def exemplars(self) -> dict[str, BucketExemplars]:
        """Return the exemplars of each method by bucket."""
        return self._exemplars.by_name()
