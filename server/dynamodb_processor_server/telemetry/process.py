"""Prometheus metrics of the process: the lag of its event loop, and the bounds on its resources."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.runtime.loop_lag import LoopLag
from dynamodb_processor_server.runtime.memory_limit import memory_limit, physical_memory
from dynamodb_processor_server.telemetry.families import PREFIX, gauge, histogram


class ProcessMetrics(Collector):
    """Readiness, the lag of the event loop, and the bounds that other metrics are compared with.

    Args:
        registry: Registers the metrics.
        lag: The lag of the event loop.
        is_ready: Returns whether the server is ready.
        bounds: The values of settings that bound a gauge, by their names.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        lag: LoopLag,
        is_ready: Callable[[], bool],
        bounds: Mapping[str, float],
    ) -> None:
        self._lag = lag
        self._is_ready = is_ready
        self._bounds = dict(bounds)
        self._memory = memory_limit(physical_memory())
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield everything as it is now; runs in the thread that is scraped."""
        text = "1 if the server is ready for calls, else 0."
        yield GaugeMetricFamily(f"{PREFIX}ready", text, value=float(self._is_ready()))
        text = "How late the event loop runs a timer; four are measured a second."
        yield histogram("event_loop_lag_seconds", text, (), [((), self._lag.seconds)])
        text = "Value of a setting that bounds a gauge, in the unit of that gauge."
        bounds = [((name,), value) for name, value in self._bounds.items()]
        yield gauge("bound", text, ("setting",), bounds)
        if self._memory is not None:
            text = "Memory that the process may use: the limit of its cgroup, or of the machine."
            yield GaugeMetricFamily(f"{PREFIX}memory_limit_bytes", text, value=self._memory)
