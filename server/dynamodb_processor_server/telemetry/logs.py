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
        """Log one call; `fields` is the log's from now on."""
        ...


def get_access_log() -> AccessLog:
    """Return the log of calls, as logs are configured now."""
    factory = structlog.get_config()["logger_factory"]
    if isinstance(factory, _ByteLoggers):
        return _AccessLines(factory.file, factory.level)
    return _AccessEvents()


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
        self.file = file
        self.level = level

    def __call__(self, *_: str) -> structlog.BytesLogger:
        return structlog.BytesLogger(self.file)


class _AccessEvents:
    """Logs calls as any other event."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("access")

    def write(self, fields: dict[str, Any]) -> None:
        self._log.info("call", **fields)


class _AccessLines:
    """Logs calls as the same JSON that structlog would write, by the shortest way.

    This is most of what a cached call costs beyond gRPC: a chain of processors for each line, and a
    flush for each, are left out. Lines of a moment are flushed together.
    """

    def __init__(self, file: BinaryIO, level: int) -> None:
        self._file = file
        self._wanted = level <= logging.INFO
        self._flushing = False

    def write(self, fields: dict[str, Any]) -> None:
        if not self._wanted:
            return
        fields["event"] = "call"
        fields["level"] = "info"
        fields["request_id"] = _request_id.get("")
        fields["timestamp"] = datetime.now(UTC)
        self._file.write(orjson.dumps(fields, option=_LINE))
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flushing = False
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
