"""Tests of the way of spans to a collector: its bounds, its counts, and its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Tracer

from dynamodb_processor_server.errors import ConfigurationError
from dynamodb_processor_server.telemetry.tracing.export import (
    BoundedProcessor,
    CountingExporter,
    SpanExport,
)
from tests.support.lengths import PATIENCE
from tests.support.running import eventually
from tests.support.silent_server import silent_server

QUEUE = 8


class Gate(SpanExporter):
    """An exporter that hangs until its gate opens, and fails while it is `broken`."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.broken = False
        self.names: list[str] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Keep the names of spans, once that is possible."""
        assert self.gate.wait(PATIENCE)
        if self.broken:
            return SpanExportResult.FAILURE
        self.names += [span.name for span in spans]
        return SpanExportResult.SUCCESS


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make queue and batches small."""
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", str(QUEUE))
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "2")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")


@pytest.fixture
def gate() -> Iterator[Gate]:
    """An exporter that hangs, and ends with the test."""
    gate = Gate()
    yield gate
    gate.gate.set()


def tracer_of(processor: BoundedProcessor) -> Tracer:
    """Return a tracer whose spans go to a processor."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(processor)
    return provider.get_tracer("tests")


def make_spans(tracer: Tracer, count: int) -> None:
    """Start and end spans with numbers as names."""
    for number in range(count):
        tracer.start_span(str(number)).end()


async def test_spans_that_find_the_queue_full_are_dropped_and_counted(gate: Gate) -> None:
    """A collector that hangs holds up nobody; later spans are sent once it goes on."""
    exporter = CountingExporter(gate)
    processor = BoundedProcessor(exporter)
    tracer = tracer_of(processor)
    make_spans(tracer, 2)
    await eventually(lambda: exporter.taken == 2)  # a batch hangs, outside the queue
    make_spans(tracer, QUEUE + 5)
    assert processor.dropped == 5
    gate.gate.set()
    await eventually(lambda: len(gate.names) == 2 + QUEUE)
    assert gate.names[2:] == [str(number) for number in range(QUEUE)]
    make_spans(tracer, 1)
    await eventually(lambda: len(gate.names) == 3 + QUEUE)
    assert processor.dropped == 5
    assert exporter.failed == 0
    processor.shutdown()  # type: ignore[no-untyped-call]


async def test_spans_that_cannot_be_sent_are_counted(gate: Gate) -> None:
    """So are those of a batch that the collector refuses."""
    gate.gate.set()
    gate.broken = True
    exporter = CountingExporter(gate)
    processor = BoundedProcessor(exporter)
    make_spans(tracer_of(processor), 3)
    await eventually(lambda: exporter.failed == 3)
    assert processor.dropped == 0
    processor.shutdown()  # type: ignore[no-untyped-call]


async def test_the_end_does_not_wait_for_a_collector_that_hangs() -> None:
    """The last spans have a bounded time."""
    with silent_server() as port:
        export = SpanExport(f"http://127.0.0.1:{port}/v1/traces", None, "1")
        make_spans(export.tracer, 1)
        await export.close(0.05)
    assert export.dropped()["queue_full"] == 0


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "9", "max_export_batch_size must be less than"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "schedule_delay_millis must be positive"),
    ],
)
def test_a_variable_that_is_wrong_is_an_error_of_the_settings(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    """The error says that it is one of OpenTelemetry's."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"tracing: .*OTEL_.*{words}"):
        SpanExport(None, None, "1")
