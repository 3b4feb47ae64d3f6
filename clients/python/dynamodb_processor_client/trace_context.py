"""Passes the trace of programs that use OpenTelemetry on to the service, as W3C writes it."""

from __future__ import annotations

import sys
from typing import TypeAlias

Metadata: TypeAlias = tuple[tuple[str, str], ...]

_NAMES = ("traceparent", "tracestate")


def trace_metadata() -> Metadata:
    """Return the metadata that name the current span; none where there is none.

    OpenTelemetry is not imported for it: a program without it has no spans.
    """
    if "opentelemetry.trace" not in sys.modules:
        return ()
    from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415 - see above

    carrier: dict[str, str] = {}
    tracecontext.TraceContextTextMapPropagator().inject(carrier)
    return tuple((name, carrier[name]) for name in _NAMES if name in carrier)
