"""Turns a scrape of the Prometheus metrics into data for CloudWatch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.samples import Sample

from dynamodb_processor_server.telemetry.cloudwatch.core_metrics import (
    CORE_METRICS,
    DEPLOYMENT,
    CoreMetric,
    dimension,
)

_Labels = tuple[str, ...]  # names of labels, or their values
# Probes would make a large part of few calls, so that failures among the others would hardly count.
_OWN_METHODS: Final = "/dynamodb_processor."


@dataclass(frozen=True, slots=True)
class Datum:
    """One metric with its dimensions.

    Attributes:
        name: The metric's name.
        unit: CloudWatch's unit.
        dimensions: Names and values.
        values: One value, or several values of a histogram: the upper bounds of its buckets.
        counts: How often each value occurred.
    """

    name: str
    unit: str
    dimensions: tuple[tuple[str, str], ...]
    values: tuple[float, ...]
    counts: tuple[float, ...] = (1,)


class Sampler:
    """Samples the core metrics; increases are those since the sample before.

    Of calls, those of probes and of reflection are left out.

    Args:
        registry: The metrics of the server.
        deployment: The value of the dimension `Deployment`.
    """

    def __init__(self, registry: CollectorRegistry, deployment: str) -> None:
        self._registry = registry
        self._deployment = deployment
        self._before: dict[_Labels, float] = {}
        self._lock = Lock()

    def sample(self) -> list[Datum]:
        """Return the data of this moment; runs in a thread, as a scrape does.

        A counter that did not change has a datum without labels only: rare values of a label would
        cost as much as frequent ones. A value that is no finite number has none: CloudWatch would
        refuse the whole request.
        """
        with self._lock:  # the last sample may begin while an abandoned one still runs
            return self._sample()

    def _sample(self) -> list[Datum]:
        families = {family.name: family for family in self._registry.collect()}
        data: list[Datum] = []
        for metric in CORE_METRICS:
            family = families.get(metric.prometheus.removesuffix("_total"))
            samples: Iterable[Sample] = family.samples if family else ()
            for labels in metric.labels:
                data += self._data(metric, labels, samples)
        return data

    def _data(
        self, metric: CoreMetric, labels: _Labels, samples: Iterable[Sample]
    ) -> Iterator[Datum]:
        name = metric.prometheus + ("_bucket" if metric.kind == "values" else "")
        groups: dict[_Labels, list[Sample]] = defaultdict(list)
        if metric.kind == "increase" and not labels:
            groups[()] = []  # alarms need data before the first event as well
        for sample in samples:
            is_own = sample.labels.get("method", _OWN_METHODS).startswith(_OWN_METHODS)
            if sample.name == name and is_own and isfinite(sample.value):
                groups[tuple(sample.labels[label] for label in labels)].append(sample)
        for values, group in groups.items():
            counts = self._counts(metric, labels, values, group)
            if counts and (not labels or set(counts) != {0.0}):
                dimensions = _dimensions(self._deployment, labels, values)
                numbers = tuple(counts), tuple(counts.values())
                yield Datum(metric.name, metric.unit, dimensions, *numbers)

    def _counts(
        self, metric: CoreMetric, labels: _Labels, values: _Labels, samples: Iterable[Sample]
    ) -> dict[float, float]:
        """Return the values of a metric, each with the number of its occurrences."""
        if metric.kind == "value":
            return {max(sample.value for sample in samples): 1}
        if metric.kind == "increase":
            total = sum(sample.value for sample in samples)
            return {self._increase((metric.name, *labels, *values), total): 1}
        return self._durations(metric, values, samples)

    def _durations(
        self, metric: CoreMetric, values: _Labels, samples: Iterable[Sample]
    ) -> dict[float, float]:
        """Return the upper bounds of the buckets with new observations, and their numbers.

        Observations above the largest bound count as the largest bound.
        """
        cumulative: dict[float, float] = defaultdict(float)
        for sample in samples:
            cumulative[float(sample.labels["le"])] += sample.value
        counts: dict[float, float] = defaultdict(float)
        largest = below = 0.0
        for bound in sorted(cumulative):
            largest = bound if isfinite(bound) else largest
            in_bucket, below = cumulative[bound] - below, cumulative[bound]
            if count := self._increase((metric.name, *values, str(bound)), in_bucket):
                counts[largest] += count
        return counts

    def _increase(self, key: _Labels, value: float) -> float:
        before = self._before.get(key, 0.0)
        self._before[key] = value
        return value - before


def _dimensions(deployment: str, labels: _Labels, values: _Labels) -> tuple[tuple[str, str], ...]:
    """Return names and values: ASCII, not empty, and methods without their service."""
    own = (
        (dimension(label), value.rpartition("/")[2] if label == "method" else value)
        for label, value in zip(labels, values, strict=True)
    )
    return tuple(
        (name, value.encode("ascii", "backslashreplace").decode() or "none")
        for name, value in ((DEPLOYMENT, deployment), *own)
    )
