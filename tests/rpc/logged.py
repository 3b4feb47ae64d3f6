"""What the server logs while a test runs."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from dynamodb_processor_server.telemetry.logs import flush_logs


@dataclass(slots=True)
class Logged:
    """A stand-in for standard error that keeps what is written, and what must never be."""

    buffer: io.BytesIO = field(default_factory=io.BytesIO)
    secrets: set[str] = field(default_factory=set)

    @property
    def text(self) -> str:
        """Everything logged so far."""
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
        """Return the access log's one line about a request."""
        (record,) = [r for r in self.of("call") if r.get("request_id") == request_id]
        return record

    def clear(self) -> None:
        """Forget what was logged."""
        flush_logs()
        self.buffer.seek(0)
        self.buffer.truncate()

    def isatty(self) -> bool:
        """No terminal, no colours."""
        return False
