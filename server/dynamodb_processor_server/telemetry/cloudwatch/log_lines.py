"""Writes data as log lines in CloudWatch's Embedded Metric Format.

CloudWatch Logs makes metrics of such lines: no request and no permission is needed, only a log
driver that sends the lines to a log group.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import structlog

from dynamodb_processor_server.telemetry.cloudwatch.core_metrics import NAMESPACE
from dynamodb_processor_server.telemetry.cloudwatch.sampler import Datum

_log = structlog.get_logger(__name__)


async def log_data(data: Sequence[Datum]) -> None:
    """Log one line for each set of dimensions, with all of its metrics."""
    groups: dict[tuple[tuple[str, str], ...], list[Datum]] = defaultdict(list)
    for datum in data:
        groups[datum.dimensions].append(datum)
    for dimensions, group in groups.items():
        metrics = [{"Name": datum.name, "Unit": datum.unit} for datum in group]
        names = [name for name, _ in dimensions]
        directive = {"Namespace": NAMESPACE, "Dimensions": [names], "Metrics": metrics}
        metadata = {"Timestamp": int(time.time() * 1_000), "CloudWatchMetrics": [directive]}
        values = {datum.name: _value(datum) for datum in group}
        _log.info("metrics", _aws=metadata, **dict(dimensions), **values)


def _value(datum: Datum) -> Any:
    """Return one value as a number; several, or one that occurred often, with their counts."""
    if datum.counts == (1,):
        return datum.values[0]
    products = [value * count for value, count in zip(datum.values, datum.counts, strict=True)]
    return {
        "Values": list(datum.values),
        "Counts": list(datum.counts),
        "Max": max(datum.values),
        "Min": min(datum.values),
        "Count": sum(datum.counts),
        "Sum": sum(products),
    }
