"""Spans of calls: the span of the call itself, and those of the steps that serve it.

OpenTelemetry's context carries the current span through coroutines and the tasks they start. No
span has a key, a parameter, an item or the text of an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from opentelemetry.context import Context, attach, create_key, get_value, set_value
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

#: Spans of one call besides its own: a long stream reads any number of pages.
MAX_CHILDREN: Final = 500

_CHILDREN: Final = create_key("dynamodb-processor-children")
_W3C: Final = TraceContextTextMapPropagator()
#: Statuses that are errors of a server by OpenTelemetry's conventions for gRPC. The others are
#: errors of callers, or what they asked for.
_SERVER_ERRORS: Final = frozenset(
    {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
)

_NO_SPAN: Final = nullcontext(INVALID_SPAN)

Metadata = Sequence[tuple[str, str | bytes]]
Attributes = Mapping[str, str | int | float | bool | Sequence[str]]


class _Children:
    """Counts the spans of one call: those that it may still have, and those left out."""

    __slots__ = ("left", "left_out")

    def __init__(self, most: int) -> None:
        self.left = most
        self.left_out = 0


class _MetadataGetter(Getter[Metadata]):
    """Finds W3C's headers among the metadata of a call."""

    def get(self, carrier: Metadata, key: str) -> list[str] | None:
        found = [value for name, value in carrier if name == key and isinstance(value, str)]
        return found or None

    def keys(self, carrier: Metadata) -> list[str]:
        return [name for name, _ in carrier]


_GETTER: Final = _MetadataGetter()


class Spans:
    """Makes the spans of calls with `tracer`: for each its own, and at most `max_children` more."""

    def __init__(self, tracer: Tracer, max_children: int = MAX_CHILDREN) -> None:
        self._tracer = tracer
        self._max_children = max_children

    def start_call(self, method: str, metadata: Metadata) -> Span:
        """Start the span of a call, the current one of this task from now on.

        Its parent is the span that `traceparent` in the metadata names, if there is one.
        """
        parent = Context()
        if _GETTER.get(metadata, "traceparent"):
            parent = _W3C.extract(metadata, parent, _GETTER)
        name = method[1:]  # without the slash in front
        attributes = {"rpc.system.name": "grpc", "rpc.method": name}
        span = self._tracer.start_span(name, parent, SpanKind.SERVER, attributes)
        context = set_value(_CHILDREN, _Children(self._max_children), Context())
        # Never detached: the task, and its context, end with the call.
        attach(set_span_in_context(span, context))
        return span

    def end_call(self, span: Span, code: str, attributes: Attributes) -> None:
        """End the span of a call with its gRPC status, by name."""
        span.set_attribute("rpc.response.status_code", code)
        for name, value in attributes.items():
            span.set_attribute(name, value)
        if code in _SERVER_ERRORS:
            fail(span, code)
        children = get_value(_CHILDREN)
        if isinstance(children, _Children) and children.left_out:
            span.set_attribute("dynamodb_processor.spans_left_out", children.left_out)
        span.end()

    def child(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
    ) -> AbstractContextManager[Span]:
        """Make a span around a block, the current one inside it.

        Outside a call, in a call that is not recorded, and in one that has its most spans, nothing
        is recorded.
        """
        return using(self.start(name, kind, attributes, links))

    def start(
        self,
        name: str,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes | None = None,
        links: Sequence[Link] = (),
    ) -> Span:
        """Start a span as `child` does, for `using`, which ends it."""
        if not get_current_span().is_recording():
            return INVALID_SPAN
        children = get_value(_CHILDREN)
        if not isinstance(children, _Children):
            return INVALID_SPAN
        if not children.left:
            children.left_out += 1
            return INVALID_SPAN
        children.left -= 1
        return self._tracer.start_span(name, None, kind, attributes, links)


def using(span: Span) -> AbstractContextManager[Span]:
    """Make a span of `Spans.start` the current one of a block, and end it with the block.

    An exception is noted by its type: its text may contain values.
    """
    return _NO_SPAN if span is INVALID_SPAN else _recorded(span)


@contextmanager
def _recorded(span: Span) -> Iterator[Span]:
    with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except (asyncio.CancelledError, GeneratorExit):
            span.set_attribute("error.type", "cancelled")
            raise
        except BaseException as error:
            fail(span, type(error).__name__)
            raise


def fail(span: Span, kind: str) -> None:
    """Mark a span as failed; `kind` is a word for the error, one of few."""
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def current_ids() -> dict[str, str]:
    """Return the ids of the current trace and span as W3C writes them; nothing outside a trace."""
    context = get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}


def recorded_ids() -> dict[str, str]:
    """Return the ids of the current trace and span if they are recorded."""
    return current_ids() if get_current_span().get_span_context().trace_flags.sampled else {}
