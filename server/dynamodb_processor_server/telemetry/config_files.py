"""Metrics of the files that the server reloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

_PREFIX: Final = "dynamodb_processor_"


class ConfigFileMetrics(Collector):
    """Whether the files are in force in their latest version."""

    def __init__(
        self, registry: CollectorRegistry, in_step: Mapping[str, Callable[[], bool]]
    ) -> None:
        self._in_force = in_step
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        family = GaugeMetricFamily(
            f"{_PREFIX}file_in_force",
            "1 if the catalog, the keys file, the identity file or the TLS files are in force as "
            "they are; 0 if they were refused, and an earlier version holds.",
            labels=("file",),
        )
        for file, in_step in self._in_force.items():
            family.add_metric((file,), float(in_step()))
        yield family
