"""Metrics of the bounds on clients: connections, requests and calls under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from dynamodb_processor_server.rpc.client_bounds import Bounds

_PREFIX: Final = "dynamodb_processor_"


class BoundMetrics(Collector):
    """Current values of the bounded quantities, and the calls and connections they cost."""

    def __init__(self, registry: CollectorRegistry, bounds: Bounds) -> None:
        self._bounds = bounds
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the current values; runs in the thread that is scraped."""
        bounds = self._bounds
        for name, text, value in (
            (
                "calls_under_way",
                "Authenticated calls whose answer is not sent completely, of max_calls.",
                bounds.under_way.calls,
            ),
            (
                "unsent_bytes",
                "Answers that clients have not taken, of max_unsent_bytes.",
                bounds.under_way.unsent_bytes,
            ),
            (
                "unauthenticated_calls",
                "Other calls whose answer is not sent completely, of max_unauthenticated_calls.",
                len(bounds.unauthenticated),
            ),
            (
                "pending_requests",
                "Requests that have not arrived completely.",
                bounds.receiver.pending,
            ),
        ):
            yield GaugeMetricFamily(f"{_PREFIX}{name}", text, value=value)
        refusals = CounterMetricFamily(
            f"{_PREFIX}bound_refusals",
            "Calls refused or given up at a bound: calls, unsent_bytes, probes or "
            "pending_requests.",
            labels=("bound",),
        )
        refused = {
            **bounds.under_way.refused,
            "probes": bounds.unauthenticated.refused,
            "pending_requests": bounds.receiver.given_up,
        }
        for bound, count in refused.items():
            refusals.add_metric((bound,), count)
        yield refusals
        yield CounterMetricFamily(
            f"{_PREFIX}connections_closed",
            "Connections that the server closed because of their client's behaviour.",
            value=bounds.connections.closed,
        )
