"""Tests of the server's process: signals before it serves, and its end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor_server.__main__ import main
from tests.support.processes import clean_environment, start_command
from tests.unit.cli.server_files import NO_ENDPOINT, files

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


@pytest.mark.parametrize("setting", ["listen", "metrics-listen"])
def test_a_port_in_use_is_reported(tmp_path: Path, setting: str) -> None:
    """The exit code is 2, and the error names setting, address and the flag to give."""
    addresses = {"listen": "127.0.0.1:0", "metrics-listen": "127.0.0.1:0"}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        addresses[setting] = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = files(tmp_path, {"events": None})
        flags += [f"--{name}={address}" for name, address in addresses.items()]
        server = start_command(["serve", *flags, f"--endpoint-url={NO_ENDPOINT}"])
        assert server.wait() == 2
    name = setting.replace("-", "_")
    assert f"{name}: cannot serve on {addresses[setting]}: " in server.output
    assert f"in use; give another address with --{setting}, port 0 for" in server.output
    assert "Traceback" not in server.output


def test_unlikely_settings_are_warned_of(tmp_path: Path) -> None:
    """The server logs the warning before any other failure."""
    flags = [*files(tmp_path, {"events": None}), "--listen=127.0.0.1:0", "--metrics-listen="]
    server = start_command(
        ["serve", *flags, f"--endpoint-url={NO_ENDPOINT}"],
        env={"DYNAMODB_PROCESSOR_TOKEN_KEY": "mistyped-secret"},
    )
    server.wait_for_event("setting_warning")
    server.stop()
    warnings = [r["warning"] for r in server.records if r["event"] == "setting_warning"]
    assert "did you mean DYNAMODB_PROCESSOR_TOKEN_KEYS?" in warnings[0]
    assert "page tokens end with this process" in warnings[1]
    assert "mistyped-secret" not in server.output


def test_a_bad_setting_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit code is 2, and the server does not start."""
    assert main(["serve", "--catalog=c", "--keys=k", "--listen=everywhere"]) == 2
    assert "listen: must be HOST:PORT" in capsys.readouterr().err
