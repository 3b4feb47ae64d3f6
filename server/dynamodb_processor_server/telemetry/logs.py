"""Structured logs on standard error: JSON for machines, colours for a terminal."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, Literal, Protocol

import orjson
import structlog

LogFormat = Literal["json", "console"]

_request_id: ContextVar[str] = ContextVar("request_id")
_LINE: Final = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z
_FLUSH_SECONDS: Final = 0.05


def configure_logs(log_format: LogFormat, level: str) -> None:
    """Set up logging for the process; `level` is one of logging's names.

    Other libraries' records, through the standard library, go the same way from WARNING on.
    """
    shared: list[structlog.typing.Processor] = [
        _add_request_id,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[structlog.typing.Processor]
    factory: Any
    if log_format == "json":
        render = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=_dump),
        ]
        factory = _ByteLoggers(sys.stderr.buffer, logging.getLevelName(level))
    else:
        # Its usual tracebacks show local variables: keys, parameters, items.
        plain = structlog.dev.plain_traceback
        colors = sys.stderr.isatty()
        render = [structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[_Forwarding(level=logging.WARNING)], level=logging.WARNING)


class AccessLog(Protocol):
    """Takes one line for each call."""

    def write(self, fields: dict[str, Any]) -> None:
        """Log one call; `fields` is the log's from now on, and says under which `request_id`."""
        ...


def get_access_log() -> AccessLog:
    """Return the log of calls, as logs are configured now."""
    factory = structlog.get_config()["logger_factory"]
    return factory.access if isinstance(factory, _ByteLoggers) else _AccessEvents()


def flush_access_log() -> None:
    """Write the lines of calls that still wait to be written."""
    factory = structlog.get_config()["logger_factory"]
    if isinstance(factory, _ByteLoggers):
        factory.access.flush()


def set_request_id(request_id: str) -> None:
    """Have all further lines of this task, and of tasks it starts, say this id."""
    _request_id.set(request_id)


def _add_request_id(_: Any, __: str, event: structlog.typing.EventDict) -> Any:
    request_id = _request_id.get("")
    if request_id:
        event["request_id"] = request_id
    return event


class _ByteLoggers:
    """Makes loggers that write to one file."""

    def __init__(self, file: BinaryIO, level: int) -> None:
        self._file = file
        self.access = _AccessLines(file, wanted=level <= logging.INFO)

    def __call__(self, *_: str) -> structlog.BytesLogger:
        return structlog.BytesLogger(self._file)


class _AccessEvents:
    """Logs calls as any other event."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("access")

    def write(self, fields: dict[str, Any]) -> None:
        self._log.info("call", **fields)


class _AccessLines:
    """Logs calls as the same JSON that structlog would write, by the shortest way.

    A chain of processors for each line, and a write and a flush for each, would be most of what a
    cached call costs beyond gRPC. Lines of a moment are written together.
    """

    def __init__(self, file: BinaryIO, *, wanted: bool) -> None:
        self._file = file
        self._wanted = wanted
        self._waiting: list[dict[str, Any]] = []

    def write(self, fields: dict[str, Any]) -> None:
        if not self._wanted:
            return
        fields["timestamp"] = datetime.now(UTC)
        if not self._waiting:
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)
        self._waiting.append(fields)

    def flush(self) -> None:
        """Write what waits."""
        lines, self._waiting = self._waiting, []
        for fields in lines:
            fields["event"] = "call"
            fields["level"] = "info"
            self._file.write(orjson.dumps(fields, option=_LINE))
        self._file.flush()


def _dump(event: dict[str, Any], **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


class _Forwarding(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger(record.name)
        log.log(
            record.levelno,
            "library_record",
            logger=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )
