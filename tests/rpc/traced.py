"""A server whose calls are traced, and the collector of its spans."""

from __future__ import annotations

from dataclasses import dataclass

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.otlp import Collector
from tests.support.running import Service, eventually


@dataclass
class Traced:
    """A server whose calls are traced, and the collector of its spans."""

    service: Service
    collector: Collector

    async def call(self, method: str = "/Query") -> Span:
        """Return the span of the one call of a method since the last `clear`, once it arrived."""
        span: Span
        (span,) = await eventually(lambda: self.collector.calls(method))
        return span
