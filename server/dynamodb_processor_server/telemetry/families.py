"""Builds the families of series of a scrape from plain counts.

Labels have bounds, so several counts may have the same labels: counters and histograms add them,
and gauges show the highest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from dynamodb_processor_server.runtime.histogram import Histogram

PREFIX: Final = "dynamodb_processor_"
Values: TypeAlias = tuple[str, ...]  # the values of the labels, in their order
BucketExemplars: TypeAlias = Sequence[Exemplar | None]  # one for each bucket of a histogram


def counter(
    name: str, text: str, labels: Values, counts: Iterable[tuple[Values, float]]
) -> CounterMetricFamily:
    """Return a counter; `name` has neither the prefix nor `_total`."""
    sums: dict[Values, float] = defaultdict(float)
    for values, count in counts:
        sums[values] += count
    family = CounterMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for values, total in sums.items():
        family.add_metric(values, total)
    return family


def gauge(
    name: str, text: str, labels: Values, values: Iterable[tuple[Values, float]]
) -> GaugeMetricFamily:
    """Return a gauge; `name` has no prefix."""
    highest: dict[Values, float] = {}
    for key, value in values:
        highest[key] = max(value, highest.get(key, value))
    family = GaugeMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for key, value in highest.items():
        family.add_metric(key, value)
    return family


def histogram(
    name: str,
    text: str,
    labels: Values,
    observed: Iterable[tuple[Values, Histogram]],
    exemplars: Mapping[Values, BucketExemplars] = MappingProxyType({}),
) -> HistogramMetricFamily:
    """Return a histogram; `name` has no prefix."""
    grouped: dict[Values, list[Histogram]] = defaultdict(list)
    for values, one in observed:
        grouped[values].append(one)
    family = HistogramMetricFamily(f"{PREFIX}{name}", text, labels=labels)
    for values, ones in grouped.items():
        merged = Histogram.merged(ones)
        bounds = (*map(floatToGoString, merged.bounds), "+Inf")
        shown = exemplars.get(values) or (None,) * len(bounds)
        buckets: list[Any] = list(zip(bounds, merged.cumulative(), shown, strict=True))
        family.add_metric(values, buckets, merged.sum)
    return family
