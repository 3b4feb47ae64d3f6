"""Records every call, refused ones included, in the metrics and the access log."""

from __future__ import annotations

import time
from typing import Any, Final

import grpc

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.rpc.call_context import Call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.slow_calls import SlowCallLog
from dynamodb_processor_server.rpc.interceptors.unauthenticated import HEALTH
from dynamodb_processor_server.telemetry.logs import AccessLog, get_access_log
from dynamodb_processor_server.telemetry.metrics import CallMetrics

_MAX_TABLE: Final = 255  # characters of a table's name, which a caller may have invented

# Members of enumerations that every call needs: Python looks them up in ten times as long.
_OK: Final = grpc.StatusCode.OK
_PERMISSION_DENIED: Final = grpc.StatusCode.PERMISSION_DENIED

# What the log keeps of a call until its line is written, in the order of `_fields`.
_Record = tuple[str, str, Principal | None, str, str, str, float, str, int, int, float]


class AccessLogAndMetrics(CallHook):
    """Records calls; runs before authentication, so that it sees refused calls too.

    Calls are logged in `log`, by default the access log as logs are configured now.
    """

    def __init__(
        self, metrics: CallMetrics, slow_calls: SlowCallLog, log: AccessLog | None = None
    ) -> None:
        self._metrics = metrics
        self._log = log or get_access_log()
        self._slow_calls = slow_calls
        self._slow_after = slow_calls.threshold

    def applies_to(self, method: str) -> bool:
        """Return True for all methods."""
        return True

    def on_start(self, call: Call) -> None:
        """Count the call in."""
        self._metrics.started(call.method)

    def on_end(self, call: Call) -> None:
        """Count the call out and log it, without keys, items or values."""
        seconds = time.monotonic() - call.started
        code = "OK" if call.code is _OK else call.code.name  # `.name` is no field
        table = call.table if call.code is not _PERMISSION_DENIED else ""
        self._metrics.ended(call.method, code, seconds)
        if call.reason:
            self._metrics.failed(call.principal.name if call.principal else "", call.reason)
        if call.messages:
            self._metrics.read(table, call.cache, call.items, call.usage.items_scanned)
        if seconds >= self._slow_after:
            self._slow_calls.write(call, code, seconds, call.table[:_MAX_TABLE])
        # A probe comes every few seconds and reports nothing new. A failed probe is reported by the
        # orchestrator that sent it.
        if not call.method.startswith(HEALTH):
            self._log.write(
                _fields,
                (
                    call.request_id,
                    call.method,
                    call.principal,
                    call.table,
                    code,
                    call.reason,
                    seconds,
                    call.cache,
                    call.items,
                    call.messages,
                    call.usage.read_units,
                ),
            )


def _fields(record: _Record) -> dict[str, Any]:
    """Return the fields of a call's line, which is made later; see `AccessLog.write`."""
    request_id, method, principal, table, code, reason, seconds, cache, items, messages, units = (
        record
    )
    return {
        "request_id": request_id,
        "method": method,
        "principal": principal.name if principal else "",
        "key_id": principal.key_id if principal else "",
        "table": table[:_MAX_TABLE],
        "status": code,
        "reason": reason,
        # As `round` to three digits, which takes four times as long.
        "duration_ms": int(seconds * 1_000_000 + 0.5) / 1_000,
        "cache": cache,
        "items": items,
        "messages": messages,
        "read_units": units,
    }
