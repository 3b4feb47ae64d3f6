"""`dynamodb-processor serve`: the server's process, its signals and its standard error."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from dynamodb_processor_server.app import open_app
from dynamodb_processor_server.cli.setting_warnings import setting_warnings
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.logs import configure_logs, log_stray_errors

_log = structlog.get_logger(__name__)


def serve(settings: Settings, run: Callable[[Coroutine[Any, Any, int]], int]) -> int:
    """Serve until the process is told to end, and return its exit code.

    `run` runs a coroutine on a new loop. Raises ConfigurationError for mistakes in the settings or
    the files they name.
    """
    _open_standard_files()  # before a loop opens files of its own
    configure_logs(settings.log_format, settings.log_level)
    log_stray_errors()
    for warning in setting_warnings(settings):
        _log.warning("setting_warning", warning=warning)
    return run(_serve_until_stopped(settings))


async def _serve_until_stopped(settings: Settings) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_app(settings):
        await stop.wait()
    return 0


def _open_standard_files() -> None:
    """Have each of the three standard files lead somewhere.

    Where one was closed before the process began, the next file that is opened gets its number, and
    libraries that write to standard error would write into that: a caller's connection, say.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
