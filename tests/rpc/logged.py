"""Collects the lines that the server logs while a test runs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from dynamodb_processor_server.telemetry.logs import flush_logs


@dataclass(slots=True)
class Logged:
    """A stand-in for standard error that keeps the written text, and the secrets to look for."""

    buffer: io.BytesIO = field(default_factory=io.BytesIO)
    secrets: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        """All text logged so far."""
        flush_logs()
        return self.buffer.getvalue().decode()

    @property
    def records(self) -> list[dict[str, Any]]:
        """The records, oldest first."""
        return [json.loads(line) for line in self.text.splitlines()]

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the records of an event."""
        return [record for record in self.records if record["event"] == event]

    def call(self, request_id: str) -> dict[str, Any]:
        """Return the one line of the access log about a request."""
        (record,) = [r for r in self.of("call") if r.get("request_id") == request_id]
        return record

    def clear(self) -> None:
        """Drop the logged text."""
        flush_logs()
        self.buffer.seek(0)
        self.buffer.truncate()

    def isatty(self) -> bool:
        """Return that it is no terminal, so that lines have no colours."""
        return False
