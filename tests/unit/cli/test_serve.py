"""Tests of the server's process: signals before it serves, and its end."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Final

import pytest

from tests.support.processes import clean_environment

_HANGING: Final = """
import threading
from dynamodb_processor_server.cli.serve import _force_exit_after
from dynamodb_processor_server.telemetry.logs import configure_logs
configure_logs("json", "INFO")
threading.Thread(target=threading.Event().wait, name="hanging look-up").start()
_force_exit_after(0.1)
"""
# A signal that comes before there is a loop, or while the first lines of the loop run.
_EARLY: Final = """
import asyncio, os, signal, sys
from pathlib import Path
from dynamodb_processor_server.cli import serve
from dynamodb_processor_server.settings import Settings

def run(work):
    os.kill(os.getpid(), signal.Signals[sys.argv[1]])
    return asyncio.run(work)

settings = Settings(catalog=Path("missing"), keys=Path("missing"))
sys.exit(serve.serve(settings, run))
"""


def test_a_thread_that_hangs_does_not_hold_up_the_end() -> None:
    """Python waits for its threads at the end; the log names the thread that was left behind."""
    done = subprocess.run(
        [sys.executable, "-c", _HANGING],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "exit_forced" in done.stderr
    assert "hanging look-up" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_there_is_a_loop_is_handled(number: signal.Signals) -> None:
    """The server does not start: it would have failed because its files are missing."""
    done = subprocess.run(
        [sys.executable, "-c", _EARLY, number.name],
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
