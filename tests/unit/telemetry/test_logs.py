"""Logs: their form, and what does not get into them."""

from __future__ import annotations

import asyncio
import contextvars
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import structlog

from dynamodb_processor_server.telemetry.logs import (
    _Forwarding,
    configure_logs,
    flush_access_log,
    get_access_log,
    set_request_id,
)


class Bytes(io.BytesIO):
    """Bytes that count how often they were flushed."""

    flushes = 0

    def flush(self) -> None:
        """Count."""
        self.flushes += 1


@dataclass(eq=False)
class StandardError:
    """What stands in for standard error: text and bytes end up in one place."""

    buffer: Bytes = field(default_factory=Bytes)

    def write(self, text: str) -> int:
        """Take text."""
        return self.buffer.write(text.encode())

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        """No terminal."""
        return False

    @property
    def text(self) -> str:
        """What was written."""
        return self.buffer.getvalue().decode()

    @property
    def record(self) -> dict[str, Any]:
        """The one line that was written."""
        (line,) = self.text.splitlines()
        return dict(json.loads(line))


Configure = Callable[..., StandardError]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """A function that sets logging up and returns where lines go."""

    def start(log_format: Any = "json", level: str = "INFO") -> StandardError:
        output = StandardError()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", output)
            configure_logs(log_format, level)
        structlog.configure(cache_logger_on_first_use=False)
        return output

    yield start
    structlog.reset_defaults()


def test_a_json_line_is_for_machines(configure: Configure) -> None:
    """Level, time in UTC, what was said, and during a call its request's id."""
    output = configure()

    def serve() -> None:
        set_request_id("r-1")
        structlog.get_logger().info("serving", address="127.0.0.1:1", units=Decimal("0.5"))

    contextvars.copy_context().run(serve)
    record = output.record
    moment = datetime.fromisoformat(record.pop("timestamp"))
    assert str(moment.tzinfo) == "UTC"
    assert record == {
        "event": "serving",
        "level": "info",
        "address": "127.0.0.1:1",
        "units": "0.5",
        "request_id": "r-1",
    }


def test_a_console_line_is_for_people(configure: Configure) -> None:
    """Without colours where there is no terminal."""
    output = configure("console")
    structlog.get_logger().warning("table_missing", table="events")
    assert "table_missing" in output.text
    assert "table=events" in output.text
    assert "\x1b" not in output.text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(configure: Configure, log_format: str) -> None:
    """They may be keys, parameters or items."""
    output = configure(log_format)
    secret = "terces-yrev"[::-1]  # so that the source line in the traceback does not show it

    def fail(api_key: str) -> None:
        item = {"salary": f"{api_key}-and-more"}
        raise LookupError(f"{len(item)} items")

    try:
        fail(secret)
    except LookupError:
        structlog.get_logger().exception("call_failed")
    assert "LookupError: 1 items" in output.text
    assert "test_logs.py" in output.text
    assert secret not in output.text


async def test_the_level_is_the_least_that_is_logged(configure: Configure) -> None:
    """The access log, which is INFO, can be turned off by it."""
    output = configure(level="WARNING")
    get_access_log().write({})
    flush_access_log()
    assert output.text == ""
    structlog.get_logger().warning("slow")
    assert output.record["level"] == "warning"


async def test_access_lines_of_a_moment_are_written_together(configure: Configure) -> None:
    """A write and a flush cost more than a line; none is held back for long."""
    output = configure()
    log = get_access_log()
    for number in range(100):
        log.write({"number": number})
    assert output.buffer.flushes == 0
    await asyncio.sleep(0.2)
    assert output.buffer.flushes == 1
    assert len(output.text.splitlines()) == 100
    structlog.get_logger("other").info("serving")
    assert output.buffer.flushes == 2


async def test_access_lines_say_what_other_lines_say(configure: Configure) -> None:
    """The short way gives the same form: event, level, request id, time."""
    output = configure()
    set_request_id("r-1")
    get_access_log().write({"request_id": "r-1", "status": "OK"})
    flush_access_log()
    structlog.get_logger().info("call", status="OK")
    short, usual = map(json.loads, output.text.splitlines())
    assert short.keys() == usual.keys()
    assert {**short, "timestamp": ""} == {**usual, "timestamp": ""}
    assert len(short["timestamp"]) == len(usual["timestamp"])


def test_other_libraries_records_go_the_same_way(configure: Configure) -> None:
    """In the same form, with their logger's name and their traceback."""
    output = configure()
    record = logging.LogRecord(
        "botocore.retries", logging.WARNING, __file__, 1, "slow %s", ("down",), None
    )
    _Forwarding(level=logging.WARNING).handle(record)
    line = output.record
    assert line["event"] == "library_record"
    assert (line["logger"], line["message"], line["level"]) == (
        "botocore.retries",
        "slow down",
        "warning",
    )


def test_what_json_does_not_know_is_logged_as_text(configure: Configure) -> None:
    """A log line must never fail."""
    output = configure()
    structlog.get_logger().info("odd", value={1, 2}, error=ValueError("x"))
    assert output.record["error"] == "x"
