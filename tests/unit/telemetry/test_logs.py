"""Tests of the form of logs, and that secrets do not get into them."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from dynamodb_processor_server.telemetry.audit import AUDIT, get_audit_log
from dynamodb_processor_server.telemetry.logs import (
    _Forwarding,
    configure_logs,
    dropped_log_lines,
    flush_logs,
    get_access_log,
    logged_call,
)
from tests.support.running import eventually


class Bytes(io.BytesIO):
    """A buffer that counts its flushes."""

    flushes = 0

    def flush(self) -> None:
        """Count the flush."""
        self.flushes += 1


@dataclass(eq=False)
class StandardError:
    """A stand-in for standard error that collects text and bytes in one place."""

    buffer: Bytes = field(default_factory=Bytes)

    def write(self, text: str) -> int:
        """Take text."""
        return self.buffer.write(text.encode())

    def flush(self) -> None:
        """Do nothing, as there is no buffer."""

    def isatty(self) -> bool:
        """Return that it is no terminal."""
        return False

    @property
    def text(self) -> str:
        """The written text."""
        flush_logs()
        return self.buffer.getvalue().decode()

    @property
    def record(self) -> dict[str, Any]:
        """The one line that was written."""
        (line,) = self.text.splitlines()
        return dict(json.loads(line))


Configure = Callable[..., StandardError]


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """A function that configures logging and returns the stand-in for standard error."""

    def start(log_format: Any = "json", level: str = "INFO") -> StandardError:
        output = StandardError()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", output)
            configure_logs(log_format, level)
        return output

    before = structlog.get_config()
    yield start
    structlog.configure(**before)


def test_a_json_line_is_for_machines(configure: Configure) -> None:
    """A line has the level, the time in UTC, the event and, during a call, the request id."""
    output = configure()

    def serve() -> None:
        logged_call.set(SimpleNamespace(request_id="r-1"))
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
    """A line has no colours where there is no terminal."""
    output = configure("console")
    structlog.get_logger().warning("table_missing", table="events")
    assert "table_missing" in output.text
    assert "table=events" in output.text
    assert "\x1b" not in output.text


def test_a_console_line_has_its_fields_in_order(configure: Configure) -> None:
    """They stand as they were given, and a field without a value is left out."""
    output = configure("console")
    fields = {"status": "OK", "reason": "", "duration_ms": 0, "plan": None, "cache": "HIT"}
    structlog.get_logger().warning("slow_call", **fields)
    assert output.text.rstrip().endswith("status=OK duration_ms=0 cache=HIT")


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_no_level_turns_the_audit_log_off(configure: Configure, level: str) -> None:
    """Its lines have the form of others, and name their logger."""
    log = get_audit_log()  # before logs are configured, as a module may
    output = configure(level=level)
    log.info("admin_call", logger=AUDIT, status="OK")
    record = output.record
    assert (record["event"], record["logger"], record["level"]) == ("admin_call", "audit", "info")


def test_a_console_line_of_the_audit_log_names_it(configure: Configure) -> None:
    """People find such lines by the name of their logger."""
    output = configure("console", "ERROR")
    get_audit_log().info("admin_call", logger=AUDIT, status="OK")
    assert "[audit]" in output.text
    assert "status=OK" in output.text


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(configure: Configure, log_format: str) -> None:
    """Local variables may be keys, parameters or items."""
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
    """Lines below the level are not logged, which can turn off the access log, at INFO."""
    output = configure(level="WARNING")
    get_access_log().write(dict, {})
    assert output.text == ""
    structlog.get_logger().warning("slow")
    assert output.record["level"] == "warning"


async def test_access_lines_of_a_moment_are_written_together(configure: Configure) -> None:
    """One write costs more than one line; no line is held back for long."""
    output = configure()
    log = get_access_log()
    for number in range(100):
        log.write(dict, {"number": number})
    assert output.buffer.getvalue() == b""
    await eventually(output.buffer.getvalue)
    assert len(output.text.splitlines()) == 100
    assert output.buffer.flushes == 1
    structlog.get_logger("other").info("serving")
    assert len(output.text.splitlines()) == 101
    assert output.buffer.flushes == 2


async def test_access_lines_have_the_form_of_other_lines(configure: Configure) -> None:
    """The short way gives the same form: event, level, request id, time."""
    output = configure()
    logged_call.set(SimpleNamespace(request_id="r-1"))
    get_access_log().write(dict, {"request_id": "r-1", "status": "OK"})
    structlog.get_logger().info("call", status="OK")
    short, usual = map(json.loads, output.text.splitlines())
    assert short.keys() == usual.keys()
    assert {**short, "timestamp": ""} == {**usual, "timestamp": ""}
    assert len(short["timestamp"]) == len(usual["timestamp"])


def test_other_libraries_records_go_the_same_way(configure: Configure) -> None:
    """Records of other libraries have the same form, with their logger's name and traceback."""
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


def test_values_unknown_to_json_are_logged_as_text(configure: Configure) -> None:
    """A value that JSON cannot express must not make a log line fail."""
    output = configure()
    structlog.get_logger().info("odd", value={1, 2}, error=ValueError("x"))
    assert output.record["error"] == "x"


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_nothing_that_is_logged_fails(configure: Configure, log_format: str) -> None:
    """Half a surrogate pair, a key that is no text and a failing `__str__` raise nothing."""

    class Odd:
        def __str__(self) -> str:
            raise ValueError("no text")

    output = configure(log_format)
    structlog.get_logger().info("odd", half="\ud800", keys={1: 2}, value=Odd())
    assert "odd" in output.text
    assert "ud800" in output.text
    assert "<Odd>" in output.text


def test_a_console_line_does_nothing_to_a_terminal(configure: Configure) -> None:
    """Control characters of callers or DynamoDB are escaped, in fields and in tracebacks."""
    output = configure("console")
    hostile = "a\x1b[2Jb\rc\x9bd\u202ee\x00f\x7f\nforged"
    try:
        raise LookupError(hostile)
    except LookupError:
        structlog.get_logger().exception("call_failed", table=hostile, tables=[hostile])
    lines = output.text.splitlines()
    assert all(character.isprintable() for line in lines for character in line)
    assert "table=a\\x1b[2Jb\\rc\\x9bd\\u202ee\\x00f\\x7f\\nforged" in lines[0]
    assert not lines[0].startswith("forged")


def test_a_library_record_whose_arguments_do_not_fit_is_logged(configure: Configure) -> None:
    """An error in another library's log call must not make a call fail."""
    output = configure()
    record = logging.LogRecord("lib", logging.ERROR, __file__, 1, "%d of %s", ("x",), None)
    _Forwarding(level=logging.WARNING).handle(record)
    assert output.record["message"] == "%d of %s"


def test_a_process_without_standard_error_logs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its lines are counted as dropped."""
    before = structlog.get_config()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", None)
        configure_logs("json", "INFO")
        structlog.get_logger().info("serving")
        assert dropped_log_lines() == 1
    structlog.configure(**before)
