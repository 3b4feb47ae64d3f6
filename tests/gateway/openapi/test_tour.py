"""`make gateway` shows the gateway to a newcomer, and ends."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.support.processes import clean_environment
from tour.command import main

_ROOT: Final = Path(__file__).parents[3]
_SECONDS: Final = 300


def test_the_tour_shows_every_step() -> None:
    """Each call of curl is answered as it promises, and the exit code is 0."""
    done = subprocess.run(
        [sys.executable, "deploy/envoy/demo", "--once"],
        cwd=_ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 16 steps showed what they promise" in done.stdout
    assert "HTTP 200, application/x-ndjson" in done.stdout
    assert "ROUTE_NOT_FOUND" in done.stdout
    assert "Ctrl-C" not in done.stdout


@pytest.mark.parametrize("option", ["--listen", "--server"])
def test_a_taken_port_is_named(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The text names the option and the remedy, before anything is created."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["--once", option, f"127.0.0.1:{port}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"gateway: {option}: cannot serve on 127.0.0.1:{port}: ")
    assert f"{option} 127.0.0.1:0 takes a free port" in error


def test_a_wrong_address_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """An address without a port is refused."""
    assert main(["--once", "--listen", "here"]) == 1
    assert "gateway: --listen: must be HOST:PORT, not here" in capsys.readouterr().err
