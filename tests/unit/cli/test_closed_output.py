"""Tests of commands whose output nobody reads, or takes: each ends with its exit code, quietly."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from dynamodb_processor_server.__main__ import _COMMANDS
from tests.support.backends import REGION
from tests.support.fake_server import running
from tests.support.fake_service import FakeService, numbered
from tests.support.lengths import PATIENCE
from tests.support.processes import clean_environment
from tests.unit.cli.server_files import NO_ENDPOINT, files

_UNBUFFERED: Final = "PYTHONUNBUFFERED"
_HELP: Final = [["--help"], ["--version"], *([name, "--help"] for name in _COMMANDS)]


def run_unread(arguments: Sequence[str], *, buffered: bool = True) -> tuple[int, str]:
    """Run a command whose reader has gone; return its exit code and its standard error."""
    reader, writer = os.pipe()
    os.close(reader)
    return _run(arguments, writer, buffered=buffered)


def _run(arguments: Sequence[str], output: int, *, buffered: bool = True) -> tuple[int, str]:
    environment = clean_environment({} if buffered else {_UNBUFFERED: "1"})
    if buffered:
        environment.pop(_UNBUFFERED, None)
    done = subprocess.run(
        [sys.executable, "-m", "dynamodb_processor_server", *arguments],
        env=environment,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    os.close(output)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [*_HELP, ["health", "--target", "127.0.0.1:9"], ["demo", "--once", "--listen", "127.0.0.1:0"]],
    ids=" ".join,
)
def test_a_command_without_a_reader_ends_quietly(arguments: list[str]) -> None:
    """The exit code is that of a broken pipe, as `| head` leaves other commands with."""
    assert run_unread(arguments) == (141, "")


def test_a_report_without_a_reader_ends_quietly(tmp_path: Path) -> None:
    """The report of `config` is written in parts, of which the first is more than a buffer."""
    tables: dict[str, Any] = {f"table-{number}": {} for number in range(300)}
    flags = [*files(tmp_path, tables), f"--endpoint-url={NO_ENDPOINT}"]
    assert run_unread(["config", *flags]) == (141, "")


def test_an_error_is_reported_although_nobody_reads_the_output(tmp_path: Path) -> None:
    """The reason is on standard error, where it always is."""
    flags = files(tmp_path, {"events": {}})
    (tmp_path / "keys.yaml").write_text("keys: 3")
    code, errors = run_unread(["config", *flags, f"--endpoint-url={NO_ENDPOINT}"])
    assert code == 141
    assert "keys.yaml:1: keys: must be a list" in errors
    assert "Traceback" not in errors


def test_a_catalog_without_a_reader_ends_quietly(dynamodb_local: str, table: str) -> None:
    """The catalog goes to standard output; what follows it is on standard error."""
    flags = [f"--endpoint-url={dynamodb_local}", f"--region={REGION}"]
    code, errors = run_unread(["catalog", "init", "--table", table, *flags])
    assert code == 141
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


async def test_a_test_of_a_deployment_without_a_reader_ends_quietly() -> None:
    """The first line of the report that cannot be written ends `accept`."""
    service = FakeService(items=numbered(10))
    async with running(service):
        query = ["--table", "events", "--expression", "n >= 0"]
        arguments = ["accept", "--target", service.address, *query]
        outcome = await asyncio.to_thread(run_unread, arguments, buffered=False)
    assert outcome == (141, "")


@pytest.mark.parametrize("arguments", [["--version"], ["config", "--help"]], ids=" ".join)
def test_a_full_disk_is_reported(arguments: list[str]) -> None:
    """Output that cannot be written is an error with its reason."""
    full = os.open("/dev/full", os.O_WRONLY)
    assert _run(arguments, full) == (
        1,
        "standard output cannot be written: No space left on device\n",
    )
