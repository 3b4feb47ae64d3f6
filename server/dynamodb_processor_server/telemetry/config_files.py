"""Metrics of the files and secrets that the server reloads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.config_files import Reloadable

_PREFIX: Final = "dynamodb_processor_"


class ConfigFileMetrics(Collector):
    """Whether files and secrets are in force in their latest version, and their changes."""

    def __init__(
        self, registry: CollectorRegistry, files: Mapping[str, Reloadable[Any, Any]]
    ) -> None:
        self._files = files
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        in_force = GaugeMetricFamily(
            f"{_PREFIX}file_in_force",
            "1 if the catalog, the keys file, the identity file, the TLS files, the token keys or "
            "the URL of Redis are in force as they are; 0 if they were refused or cannot be read, "
            "and an earlier version holds.",
            labels=("file",),
        )
        changes = CounterMetricFamily(
            f"{_PREFIX}file_changes",
            "New versions of files and secrets: reloaded, or refused for a reason that was logged.",
            labels=("file", "outcome"),
        )
        for name, file in self._files.items():
            in_force.add_metric((name,), float(file.is_up_to_date))
            for outcome, count in file.changes.items():
                changes.add_metric((name, outcome), count)
        yield in_force
        yield changes
