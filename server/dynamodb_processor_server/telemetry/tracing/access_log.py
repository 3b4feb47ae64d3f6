"""Adds the ids of traces to the access log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from dynamodb_processor_server.telemetry.logs import AccessLog
from dynamodb_processor_server.telemetry.tracing.spans import current_ids

_Record = TypeVar("_Record")


class TracedAccessLog:
    """Logs each call with its `trace_id` and `span_id`; see `AccessLog`."""

    def __init__(self, log: AccessLog) -> None:
        self._log = log

    def write(self, fields_of: Callable[[_Record], dict[str, Any]], record: _Record) -> None:
        """Log one call, which ends now and in whose context this is."""
        self._log.write(partial(_with_ids, fields_of, current_ids()), record)


def _with_ids(
    fields_of: Callable[[_Record], dict[str, Any]], ids: dict[str, str], record: _Record
) -> dict[str, Any]:
    return fields_of(record) | ids
