"""Spans that are recorded in memory, and calls for them to belong to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.context import attach, detach, get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from dynamodb_processor_server.telemetry.tracing.spans import MAX_CHILDREN, Spans

METHOD = "/dynamodb_processor.v1.QueryService/Query"


class Recorder:
    """Spans, and those that have ended so far."""

    def __init__(self, max_children: int = MAX_CHILDREN, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = Spans(provider.get_tracer("tests"), max_children)

    @contextmanager
    def call(self, code: str = "OK", **attributes: Any) -> Iterator[None]:
        """Make the span of a call around a block, and no longer the current one after it."""
        token = attach(get_current())
        span = self.spans.start_call(METHOD, ())
        try:
            yield
        finally:
            self.spans.end_call(span, code, attributes)
            detach(token)

    @property
    def ended(self) -> list[ReadableSpan]:
        """The spans that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans of a name that have ended."""
        return [span for span in self.ended if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the one span of a name."""
        (span,) = self.named(name)
        return span


def parent_of(span: ReadableSpan) -> int | None:
    """Return the id of a span's parent, None for the first one of a trace."""
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    """Return the id of a span."""
    assert span.context is not None
    found: int = span.context.span_id
    return found


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    """Return the attributes of a span."""
    return dict(span.attributes or {})
