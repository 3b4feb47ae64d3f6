"""Structured logs on standard error: JSON for machines, colours for a terminal."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextvars import ContextVar
from typing import Any, BinaryIO, Final, Literal

import orjson
import structlog

LogFormat = Literal["json", "console"]

_request_id: ContextVar[str] = ContextVar("request_id")
_ACCESS: Final = "access"
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
        factory = _ByteLoggers(sys.stderr.buffer)
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


def get_access_log() -> structlog.typing.FilteringBoundLogger:
    """Return the logger that has one line for each call."""
    # Bound here and now: an unbound logger looks its configuration up for each line.
    return structlog.get_logger(_ACCESS).bind()  # type: ignore[no-any-return]


def set_request_id(request_id: str) -> None:
    """Have all further lines of this task, and of tasks it starts, say this id."""
    _request_id.set(request_id)


def _add_request_id(_: Any, __: str, event: structlog.typing.EventDict) -> Any:
    request_id = _request_id.get("")
    if request_id:
        event["request_id"] = request_id
    return event


class _ByteLoggers:
    """Makes loggers that write to one file: at once, but for the access log."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def __call__(self, *names: str) -> structlog.BytesLogger:
        if names == (_ACCESS,):
            return _AccessLines(self._file)
        return structlog.BytesLogger(self._file)


class _AccessLines(structlog.BytesLogger):
    """Writes lines, and flushes those of a moment together: a flush costs more than a line."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._lines = file
        self._flushing = False

    def msg(self, message: bytes) -> None:
        self._lines.write(message + b"\n")
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self._flush_now)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg

    def _flush_now(self) -> None:
        self._flushing = False
        self._lines.flush()


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
