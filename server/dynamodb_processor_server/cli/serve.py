"""`dynamodb-processor serve`: the server's process, its signals and its standard error."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog

from dynamodb_processor_server.app import open_app
from dynamodb_processor_server.cli.setting_warnings import setting_warnings
from dynamodb_processor_server.rpc.wakeups import share_wakeups
from dynamodb_processor_server.runtime.descriptors import raise_limit
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.logs import (
    close_logs,
    configure_logs,
    log_stray_errors,
)

_log = structlog.get_logger(__name__)

_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_HANGUP: Final = getattr(signal, "SIGHUP", None)  # Windows has none
# Seconds for which a thread that plans a long query delays the event loop, many times a call.
# Python's default is ten times as long.
_SWITCH_INTERVAL: Final = 0.0005
#: Seconds for the process to end, after the drain.
CLOSE_SECONDS: Final = 5.0


def serve(settings: Settings, run: Callable[[Coroutine[Any, Any, int]], int]) -> int:
    """Serve until a signal ends the process, and return its exit code.

    `run` runs a coroutine on a new loop. Raises ConfigurationError for errors in the settings or
    the files they name.
    """
    early: list[int] = []
    ending: tuple[signal.Signals, ...] = _SIGNALS
    if _HANGUP is not None and sys.stdin is not None and sys.stdin.isatty():
        ending += (_HANGUP,)  # the terminal was closed
    elif _HANGUP is not None:
        signal.signal(_HANGUP, lambda *_: None)  # requests a reload, which a start does anyway
    for number in ending:
        # Until the loop handles the signals.
        signal.signal(number, lambda number, _: early.append(number))
    sys.setswitchinterval(_SWITCH_INTERVAL)
    _open_standard_files()  # before a loop opens files of its own
    configure_logs(settings.log_format, settings.log_level)
    structlog.configure(cache_logger_on_first_use=True)  # this process configures logging once
    log_stray_errors()
    for warning in setting_warnings(settings):
        _log.warning("setting_warning", warning=warning)
    raise_limit()
    return run(_serve_until_signalled(settings, ending, early))


async def _serve_until_signalled(
    settings: Settings, ending: Sequence[signal.Signals], early: Sequence[int]
) -> int:
    """Serve until a signal ends the server; do not start if one has arrived already."""
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in ending:
        loop.add_signal_handler(number, signalled.set)
    if early:
        return 0
    started = asyncio.Event()
    serving = asyncio.create_task(_serve_while(settings, started, signalled, _HANGUP not in ending))
    waiting = asyncio.create_task(signalled.wait())
    await asyncio.wait((serving, waiting), return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if signalled.is_set():
        _force_exit_after(settings.drain_delay + settings.drain_grace + CLOSE_SECONDS)
        if not started.is_set():
            serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving
    return 0


async def _serve_while(
    settings: Settings, started: asyncio.Event, signalled: asyncio.Event, hangup_reloads: bool
) -> None:
    share_wakeups()  # before a server of gRPC is made
    async with open_app(settings) as app:
        if _HANGUP is not None and hangup_reloads:
            asyncio.get_running_loop().add_signal_handler(_HANGUP, app.reload)
        started.set()
        await signalled.wait()


def _force_exit_after(seconds: float) -> None:
    """End the process after so many seconds, even if Python still waits for a thread.

    After the drain no call needs such a thread: it waits for a name server or a file.
    """

    def end() -> None:
        threads = [thread.name for thread in threading.enumerate()]
        _log.error("exit_forced", after_seconds=seconds, threads=threads)
        close_logs()
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _open_standard_files() -> None:
    """Open each of the three standard files that is closed.

    If one was closed before the process began, the next opened file gets its number. Libraries that
    write to standard error would then write into that file, for example a client's connection.
    """
    null = os.open(os.devnull, os.O_RDWR)
    while null <= 2:
        null = os.open(os.devnull, os.O_RDWR)
    os.close(null)
