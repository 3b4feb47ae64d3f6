"""Tests of `ddbq` with standard streams that are a terminal, a pipe, a file, or closed."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import grpc
import pytest

from dynamodb_processor.v1 import query_pb2
from tests.support.fake_service import Cut, Failure, FakeService, numbered
from tests.unit.client.commands import COMMAND
from tests.unit.client.standard_streams import End, Kind, popen, start_between, until

NO_TRACEBACK = ("Traceback", "Exception ignored")
OPEN: tuple[Kind, ...] = ("terminal", "pipe", "file")
COMBINATIONS: list[tuple[Kind, Kind, Kind]] = [
    *product(OPEN, OPEN, OPEN),
    ("closed", "pipe", "terminal"),
    ("closed", "terminal", "pipe"),
    ("file", "file", "closed"),
    ("terminal", "terminal", "closed"),
    ("terminal", "closed", "terminal"),
    ("closed", "pipe", "closed"),
    ("closed", "closed", "file"),
    ("closed", "closed", "closed"),
]


@pytest.mark.parametrize(("stdin", "stdout", "stderr"), COMBINATIONS)
async def test_every_item_arrives(
    stdin: Kind,
    stdout: Kind,
    stderr: Kind,
    environment: dict[str, str],
    service: FakeService,
    tmp_path: Path,
) -> None:
    """Standard output gets every item, with every kind of the other two streams."""
    service.items = numbered(150)
    command = start_between((stdin, stdout, stderr), environment, tmp_path, "stream", "numbers")
    status, output, errors = await command.ended()
    assert not any(words in output + errors for words in NO_TRACEBACK)
    if stdout == "closed":
        assert status == 1
        if stderr != "closed":
            assert "ddbq: the output cannot be written: Bad file descriptor" in errors
        return
    assert status == 0
    if stdout == "terminal":
        assert all(f"│ {number}" in output for number in range(150))
    else:
        assert [json.loads(line)["n"] for line in output.splitlines()] == list(range(150))
    if stderr != "terminal":
        assert errors == ""
    else:
        assert "│" not in errors
        assert "{" not in errors


COMMANDS = {
    "query": ("query", "numbers", "--page-size", "2", "--total", "exact", "-v"),
    "count": ("count", "numbers", "--up-to", "300"),
    "get": ("get", "numbers", "--key", "n:=7"),
    "explain": ("explain", "numbers"),
    "tables": ("tables",),
    "table": ("tables", "numbers"),
    "stats": ("cache", "stats"),
    "invalidate": ("cache", "invalidate", "numbers"),
    "help": ("--help",),
    "version": ("--version",),
}


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [("terminal", "pipe"), ("pipe", "terminal"), ("file", "closed"), ("closed", "file")],
)
async def test_every_command_keeps_results_and_notes_apart(
    what: str,
    stdout: Kind,
    stderr: Kind,
    environment: dict[str, str],
    service: FakeService,
    tmp_path: Path,
) -> None:
    """Results go only to standard output, notes only to stderr, in all combinations."""
    service.tables.tables.add(name="numbers", description="A few.")
    service.table.table.name = "numbers"
    service.explanation.path = query_pb2.ACCESS_PATH_SCAN
    command = start_between(("file", stdout, stderr), environment, tmp_path, *COMMANDS[what])
    status, output, errors = await command.ended()
    assert not any(words in output + errors for words in NO_TRACEBACK)
    writes_nothing = what == "invalidate"
    if stdout == "closed":
        assert status == (0 if writes_nothing else 1)
        return
    assert status == 0
    assert bool(output) != writes_nothing
    assert "more with" not in output
    assert "there may be more" not in output
    assert "{" not in errors
    if stdout in ("pipe", "file") and what not in ("help", "version"):
        assert all(json.loads(line) is not None for line in output.splitlines())


async def test_no_progress_line_beside_a_pipe(
    environment: dict[str, str], service: FakeService, tmp_path: Path
) -> None:
    """The reader of a pipe may write to the same terminal; a file has no such reader."""
    service.items = numbered(250)
    shown: dict[Kind, str] = {}
    stdout: Kind
    for stdout in ("pipe", "file"):
        command = start_between(
            ("file", stdout, "terminal"), environment, tmp_path, "stream", "numbers"
        )
        _, _, shown[stdout] = await command.ended()
    assert shown["pipe"] == ""
    assert "250 items" in shown["file"]
    asked = ("stream", "numbers", "--progress")
    command = start_between(("file", "pipe", "terminal"), environment, tmp_path, *asked)
    _, output, errors = await command.ended()
    assert "250 items" in errors
    assert len(output.splitlines()) == 250


async def test_a_broken_stream_is_incomplete_json(
    environment: dict[str, str], service: FakeService, tmp_path: Path
) -> None:
    """A document that was cut short is not valid JSON."""
    kinds: tuple[Kind, Kind, Kind] = ("file", "pipe", "pipe")
    arguments = ("stream", "numbers", "--output", "json")
    status, output, _ = await start_between(kinds, environment, tmp_path, *arguments).ended()
    assert status == 0
    assert len(json.loads(output)) == 1_000
    service.cuts.append(Cut(after=1, failure=Failure(grpc.StatusCode.INTERNAL)))
    status, output, errors = await start_between(kinds, environment, tmp_path, *arguments).ended()
    assert status == 1
    assert "--token 100:900" in errors
    with pytest.raises(json.JSONDecodeError):
        json.loads(output)


@pytest.mark.parametrize("what", ["stream", "count", "tables"])
async def test_a_full_disk_is_reported(
    what: str, environment: dict[str, str], service: FakeService
) -> None:
    """Output that cannot be written is an error with a reason, not a traceback."""
    service.tables.tables.add(name="numbers")
    full = os.open("/dev/full", os.O_WRONLY)
    command = [*COMMAND, what, *([] if what == "tables" else ["numbers"])]
    process = popen(command, environment, subprocess.DEVNULL, full, subprocess.PIPE)
    os.close(full)
    _, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 1
    assert errors.decode() == "ddbq: the output cannot be written: No space left on device\n"


@pytest.mark.parametrize("stderr", OPEN)
@pytest.mark.parametrize("what", ["stream", "query"])
async def test_a_reader_that_closes_the_pipe_ends_it_quietly(
    what: str, stderr: Kind, environment: dict[str, str], service: FakeService, tmp_path: Path
) -> None:
    """`| head` ends every command as it ends other commands, with every kind of stderr."""
    service.items = numbered(20_000)
    reading, writing = os.pipe()
    end = End(stderr, tmp_path / "errors")
    command = [*COMMAND, what, "numbers", "--page-size", "20000"]
    process = popen(command, environment, subprocess.DEVNULL, writing, end.given)
    os.close(writing)
    end.hand_over()
    await asyncio.to_thread(os.read, reading, 10)
    os.close(reading)
    assert await asyncio.to_thread(process.wait) == 141
    errors = await end.text()
    assert not any(words in errors for words in (*NO_TRACEBACK, "ddbq:"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "numbers"),
        ("stream", "numbers"),
        ("count", "numbers"),
        ("get", "numbers", "--key", "n:=1"),
        ("explain", "numbers", "n = 1"),
        ("tables",),
        ("tables", "numbers"),
        ("cache", "stats"),
        ("--help",),
        ("query", "--help"),
        ("--version",),
    ],
    ids=" ".join,
)
async def test_a_command_without_a_reader_ends_quietly(
    arguments: tuple[str, ...], environment: dict[str, str], service: FakeService
) -> None:
    """Output that is shorter than a pipe's buffer fails at its end, with the same status."""
    service.tables.tables.add(name="numbers")
    buffered = {name: text for name, text in environment.items() if name != "PYTHONUNBUFFERED"}
    reading, writing = os.pipe()
    os.close(reading)
    process = popen([*COMMAND, *arguments], buffered, subprocess.DEVNULL, writing, subprocess.PIPE)
    os.close(writing)
    _, errors = await asyncio.to_thread(process.communicate)
    assert (process.returncode, errors.decode()) == (141, "")


@pytest.mark.parametrize("stdout", OPEN)
@pytest.mark.parametrize("stderr", OPEN)
async def test_ctrl_c_ends_a_stream_that_waits(
    stdout: Kind,
    stderr: Kind,
    environment: dict[str, str],
    service: FakeService,
    tmp_path: Path,
) -> None:
    """Ctrl-C in the middle of a stream has the usual status, and no traceback."""
    service.hang_after = 1
    command = start_between(("file", stdout, stderr), environment, tmp_path, "stream", "numbers")
    await until(lambda: bool(service.stream_requests))
    command.process.send_signal(signal.SIGINT)
    status, output, errors = await command.ended()
    assert status == 130
    assert not any(words in output + errors for words in NO_TRACEBACK)


async def test_ctrl_c_ends_a_write_that_waits(
    environment: dict[str, str], service: FakeService
) -> None:
    """One Ctrl-C is enough, even while a reader does not read."""
    service.items = numbered(20_000)
    reading, writing = os.pipe()
    process = popen(
        [*COMMAND, "query", "numbers", "--page-size", "20000"],
        environment,
        subprocess.DEVNULL,
        writing,
        subprocess.PIPE,
    )
    os.close(writing)
    await until(lambda: _waiting(reading) > 50_000)  # of 65,536 that it holds
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.to_thread(process.communicate)
    os.close(reading)
    assert process.returncode == 130
    assert errors == b""


def _waiting(pipe: int) -> int:
    count = bytearray(4)
    fcntl.ioctl(pipe, 0x541B, count)  # FIONREAD
    return int.from_bytes(count, sys.byteorder)


IMPORTING = """
import os, signal, sys, threading
import dynamodb_processor_client.command as command

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "grpc":
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Interrupts())
sys.exit(command.main(["tables"]))
"""


async def test_ctrl_c_during_the_imports(environment: dict[str, str]) -> None:
    """Ctrl-C before the command has begun leaves no traceback either."""
    process = popen(
        [sys.executable, "-c", IMPORTING],
        environment,
        subprocess.DEVNULL,
        subprocess.PIPE,
        subprocess.PIPE,
    )
    output, errors = await asyncio.to_thread(process.communicate)
    assert process.returncode == 130
    assert (output, errors) == (b"", b"")
