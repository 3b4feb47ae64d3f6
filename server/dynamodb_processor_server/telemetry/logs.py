"""Structured logs on standard error: JSON for machines, colours for a terminal."""

from __future__ import annotations

import asyncio
import atexit
import io
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol, TypeVar, cast

import orjson
import structlog

from dynamodb_processor_server.telemetry.log_writer import LogWriter, OutputFile

LogFormat = Literal["json", "console"]
_Record = TypeVar("_Record")


class LoggedCall(Protocol):
    """A call, of which each log line has the id."""

    request_id: str


#: The call that runs in this task and in the tasks it starts. Its lines have its request id.
logged_call: Final[ContextVar[LoggedCall]] = ContextVar("logged_call")

_LINE: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_FLUSH_SECONDS: Final = 0.05
_EXIT_SECONDS: Final = 1.0  # for the last lines
_MAX_BATCH: Final = 200  # lines of calls that are handed on together


def configure_logs(log_format: LogFormat, level: str) -> None:
    """Set up logging for the process; `level` is one of logging's names.

    Lines go to standard error, as it is now, by a thread of their own. Other libraries' records,
    through the standard library, go the same way from WARNING on.
    """
    close_logs()
    least = logging.getLevelName(level)
    processors: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # structlog's own tracebacks for terminals show local variables: keys, parameters, items.
        structlog.processors.format_exc_info,
    ]
    render = _json_line if log_format == "json" else _console(colors=_is_terminal())
    writer = LogWriter(_standard_error(), lambda count: _dropped_line(render, count))
    access = _AccessLines(writer, wanted=least <= logging.INFO) if log_format == "json" else None
    structlog.configure(
        processors=[*processors, render],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_Loggers(writer, access),
    )
    logging.basicConfig(handlers=[_Forwarding(level=logging.WARNING)], level=logging.WARNING)


class AccessLog(Protocol):
    """Takes a record of each call."""

    def write(self, fields_of: Callable[[_Record], dict[str, Any]], record: _Record) -> None:
        """Log one call, which ends now.

        Args:
            fields_of: Returns the fields of a record's line, `request_id` among them, as a new
                dictionary. It is called when the line is made, some time after the call.
            record: The record, which must not change afterwards.
        """
        ...


def get_access_log() -> AccessLog:
    """Return the log of calls, as logs are configured now."""
    loggers = _loggers()
    return (loggers and loggers.access) or _AccessEvents()


def flush_access_log() -> None:
    """Hand on the lines of calls that still wait for others of their moment."""
    loggers = _loggers()
    if loggers and loggers.access:
        loggers.access.flush()


def flush_logs(timeout: float = _EXIT_SECONDS) -> None:
    """Wait until all lines so far are written, at most `timeout` seconds."""
    flush_access_log()
    if loggers := _loggers():
        loggers.writer.flush(timeout)


@atexit.register
def close_logs() -> None:
    """Write waiting lines, if the file takes them within a second. Later lines are dropped."""
    flush_access_log()
    if loggers := _loggers():
        loggers.writer.close(_EXIT_SECONDS)


def log_stray_errors() -> None:
    """Log errors that Python would write to standard error itself, in the thread of the error."""
    logging.captureWarnings(True)
    log = structlog.get_logger(__name__)

    def log_unraisable(unraisable: Any) -> None:
        log.error("unraisable_error", exc_info=unraisable.exc_value)

    def log_thread_error(arguments: threading.ExceptHookArgs) -> None:
        log.error("thread_failed", exc_info=arguments.exc_value)

    sys.unraisablehook = log_unraisable
    threading.excepthook = log_thread_error


def dropped_log_lines() -> int:
    """Return how many lines could not be written."""
    loggers = _loggers()
    return loggers.writer.dropped if loggers else 0


def _add_request_id(_: Any, __: str, event: structlog.typing.EventDict) -> Any:
    call = logged_call.get(None)
    if call is not None and call.request_id:
        event["request_id"] = call.request_id
    return event


class _Loggers:
    """Makes loggers that write with one writer."""

    def __init__(self, writer: LogWriter, access: _AccessLines | None) -> None:
        self.writer = writer
        self.access = access
        self._logger = _Logger(writer)

    def __call__(self, *_: str) -> _Logger:
        return self._logger


class _Logger:
    """Takes rendered lines, under the names of all levels."""

    def __init__(self, writer: LogWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = writer.write


def _loggers() -> _Loggers | None:
    factory = structlog.get_config()["logger_factory"]
    return factory if isinstance(factory, _Loggers) else None


def _standard_error() -> OutputFile | None:
    """Return standard error without its buffers: they would keep lines of a full disk."""
    buffer = getattr(sys.stderr, "buffer", None)
    raw = getattr(buffer, "raw", None)
    return cast("OutputFile | None", raw if isinstance(raw, io.FileIO) else buffer)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


class _AccessEvents:
    """Logs calls as any other event."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("access")

    def write(self, fields_of: Callable[[_Record], dict[str, Any]], record: _Record) -> None:
        self._log.info("call", **fields_of(record))


class _AccessLines:
    """Logs calls as the same JSON that structlog would write, by the shortest way.

    A chain of processors for each line would be most of a cached call's cost beyond gRPC. The lines
    of a moment are made and handed on together: a line made at the end of its call costs three
    times as much, as gRPC's code has pushed this code out of the processor's caches.
    """

    def __init__(self, writer: LogWriter, *, wanted: bool) -> None:
        self._writer = writer
        self._enabled = wanted
        self._waiting: list[tuple[float, Callable[[Any], dict[str, Any]], Any]] = []

    def write(self, fields_of: Callable[[_Record], dict[str, Any]], record: _Record) -> None:
        if not self._enabled:
            return
        if not self._waiting:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._waiting.append((time.time(), fields_of, record))

    def flush(self) -> None:
        """Pass waiting lines on to the writer."""
        waiting, self._waiting = self._waiting, []
        for first in range(0, len(waiting), _MAX_BATCH):
            lines = [_call_line(*each) for each in waiting[first : first + _MAX_BATCH]]
            self._writer.write(b"".join(lines), len(lines))


def _call_line(
    ended: float, fields_of: Callable[[_Record], dict[str, Any]], record: _Record
) -> bytes:
    fields = fields_of(record)
    fields["timestamp"] = datetime.fromtimestamp(ended, UTC)
    fields["event"] = "call"
    fields["level"] = "info"
    return _dump(fields)


def _dump(event: structlog.typing.EventDict) -> bytes:
    """Return an event as a line of JSON, with values that JSON lacks as texts."""
    try:
        return orjson.dumps(event, default=str, option=_LINE)
    except TypeError:  # half a surrogate pair, a key that is no text, a `__str__` that fails
        plain = {str(name): _text(value) for name, value in event.items()}
        return json.dumps(plain).encode() + b"\n"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a line is logged for any value
        return f"<{type(value).__name__}>"


def _json_line(_: Any, __: str, event: structlog.typing.EventDict) -> bytes:
    return _dump(event)


def _console(*, colors: bool) -> structlog.typing.Processor:
    """Return the renderer of lines for people, perhaps on a terminal.

    Fields are in the order in which they were given, and empty ones are left out. Callers and
    DynamoDB influence the content, so nothing of it reaches the terminal as a control character.
    """
    plain = structlog.dev.plain_traceback
    renderer = structlog.dev.ConsoleRenderer(
        colors=colors, exception_formatter=plain, sort_keys=False
    )

    def render(logger: Any, name: str, event: structlog.typing.EventDict) -> bytes:
        given = {key: value for key, value in event.items() if value is not None and value != ""}
        clean = {key: _printable(key, value) for key, value in given.items()}
        return f"{renderer(logger, name, clean)}\n".encode()

    return render


_NOT_TEXT: Final = (bool, int, float, type(None))


def _printable(name: str, value: object) -> object:
    """Return a value without characters that do something to a terminal."""
    if isinstance(value, _NOT_TEXT):
        return value
    text = value if isinstance(value, str) else _text(value)
    if text.isprintable():
        return text
    kept = "\n\t" if name == "exception" else ""
    return "".join(
        one if one.isprintable() or one in kept else one.encode("unicode_escape").decode()
        for one in text
    )


def _dropped_line(render: structlog.typing.Processor, count: int) -> bytes:
    """Return the line that says how many others are missing."""
    event = {
        "event": "log_lines_dropped",
        "level": "warning",
        "timestamp": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "lines": count,
    }
    return cast("bytes", render(None, "warning", event))


class _Forwarding(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - the arguments do not fit the text, in somebody's library
            message = _text(record.msg)
        log = structlog.get_logger(record.name)
        log.log(
            record.levelno,
            "library_record",
            logger=record.name,
            message=message,
            exc_info=record.exc_info,
        )
