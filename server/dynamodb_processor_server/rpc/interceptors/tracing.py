"""Gives each call a span, the parent of the spans of all its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.unauthenticated import HEALTH

if TYPE_CHECKING:  # a server without tracing does not import OpenTelemetry
    from dynamodb_processor_server.telemetry.tracing.spans import Spans

_MAX_TABLE: Final = 255  # characters of a table's name, which a caller may have invented


class Tracing(CallHook):
    """Starts and ends spans; runs before the access log, whose lines have the ids of traces."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans

    def applies_to(self, method: str) -> bool:
        """Return True for all methods but health checks, which come every few seconds."""
        return not method.startswith(HEALTH)

    def on_start(self, call: Call) -> None:
        """Start the span, under the caller's if the call names it."""
        call.span = self._spans.start_call(call.method, call.metadata)

    def on_end(self, call: Call) -> None:
        """End the span with the status of the call and the fields of the access log."""
        if not call.span.is_recording():
            return
        found = {
            "dynamodb_processor.request_id": call.request_id,
            "dynamodb_processor.principal": call.principal.name if call.principal else "",
            "dynamodb_processor.table": call.table[:_MAX_TABLE],
            "dynamodb_processor.reason": call.reason,
            "dynamodb_processor.cache": call.cache,
        }
        attributes: dict[str, str | int | float] = {
            name: value for name, value in found.items() if value
        }
        if call.messages:
            attributes["dynamodb_processor.items"] = call.items
            attributes["dynamodb_processor.messages"] = call.messages
            attributes["dynamodb_processor.read_units"] = call.usage.read_units
        self._spans.end_call(call.span, call.code.name, attributes)
