"""Sends spans to a collector, from a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Tracer

from dynamodb_processor_server.errors import ConfigurationError

_log = structlog.get_logger(__name__)

_SERVICE: Final = "dynamodb-processor"
#: Seconds of a shutdown for the last spans.
FLUSH_SECONDS: Final = 2.0


class CountingExporter(SpanExporter):
    """Counts the spans that an exporter takes and those that it fails to send."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self.taken = 0
        self.failed = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans; called in the thread of the processor."""
        self.taken += len(spans)
        result = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            if result is not SpanExportResult.SUCCESS:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        """End the exporter, and its pauses before it tries again."""
        self._exporter.shutdown()


class BoundedProcessor(BatchSpanProcessor):
    """Batches spans for an exporter; those that find the queue full are dropped and counted.

    OpenTelemetry's own processor drops the oldest spans, logs that on the path of the call, and
    counts them only in metrics of its own.
    """

    def __init__(self, exporter: CountingExporter) -> None:
        # That of OTEL_BSP_MAX_QUEUE_SIZE.
        self._most: int = self._default_max_queue_size()  # type: ignore[no-untyped-call]
        super().__init__(exporter, max_queue_size=self._most)
        self._counting = exporter
        self._queued = 0  # all that ever were
        self.dropped = 0

    def on_end(self, span: ReadableSpan) -> None:
        """Queue a span that is sampled; called on the event loop."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        # Of the two counts each has one thread that writes it. Spans that are being sent have left
        # the queue.
        if self._queued - self._counting.taken >= self._most:
            self.dropped += 1
            return
        self._queued += 1
        super().on_end(span)


class SpanExport:
    """The way of spans from a tracer to a collector.

    Args:
        endpoint: The URL that takes traces; None for that of OpenTelemetry's variables.
        sample_ratio: The part of traces that is recorded, of those that begin here; None for the
            sampler of OpenTelemetry's variables.
        version: The version of this service.

    Raises ConfigurationError if a variable has a wrong value.
    """

    def __init__(self, endpoint: str | None, sample_ratio: float | None, version: str) -> None:
        try:
            self._exporter = CountingExporter(OTLPSpanExporter(endpoint))
            self._processor = BoundedProcessor(self._exporter)
            ours = Resource.create({"service.name": _SERVICE, "service.version": version})
            sampler = None if sample_ratio is None else ParentBased(TraceIdRatioBased(sample_ratio))
            provider = TracerProvider(
                sampler, ours.merge(OTELResourceDetector().detect()), shutdown_on_exit=False
            )
        except (ValueError, OSError) as error:
            raise ConfigurationError(
                f"tracing: one of OpenTelemetry's variables OTEL_… has a wrong value: {error}"
            ) from None
        provider.add_span_processor(self._processor)
        self.tracer: Tracer = provider.get_tracer(_SERVICE, version)

    def dropped(self) -> dict[str, int]:
        """Return how many spans were not sent, by reason."""
        return {"queue_full": self._processor.dropped, "not_sent": self._exporter.failed}

    async def close(self, seconds: float = FLUSH_SECONDS) -> None:
        """Send the spans that wait, if the collector takes them in so many seconds."""
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end() -> None:
            self._processor.shutdown()  # type: ignore[no-untyped-call]
            _call_if_open(loop, ended.set)

        # A daemon, so that the process does not wait for a collector that hangs.
        threading.Thread(target=end, name="flush spans", daemon=True).start()
        try:
            async with asyncio.timeout(seconds):
                await ended.wait()
        except TimeoutError:
            _log.warning("spans_not_flushed", after_seconds=seconds)
            self._exporter.shutdown()


def _call_if_open(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    """Call a function on an event loop, unless the loop has ended in the meantime."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        return
