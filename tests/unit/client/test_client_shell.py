"""Tests of `ddbq shell`: its commands on one connection, its completion and its history."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from dynamodb_processor_client.shell import history_path
from dynamodb_processor_client.shell_completion import complete
from tests.support.fake_service import FakeService
from tests.support.lengths import PATIENCE
from tests.unit.client.commands import COMMAND, Outcome
from tests.unit.client.standard_streams import popen


class Names:
    """The names of one table."""

    def tables(self) -> Sequence[str]:
        """Return two tables."""
        return ["flights", "invoices"]

    def indexes(self, table: str) -> Sequence[str]:
        """Return the paths of the table of flights."""
        return ["by_carrier", "@table"] if table == "flights" else []

    def attributes(self, table: str) -> Iterable[str]:
        """Return the attributes of the table of flights."""
        return ["carrier", "distance"] if table == "flights" else []


@pytest.mark.parametrize(
    ("line", "text", "found"),
    [
        ("", "", ["cache", "count", "exit", "explain", "get", "query", "stream", "tables"]),
        ("st", "st", ["stream"]),
        ("query ", "", ["flights ", "invoices "]),
        ("query fl", "fl", ["flights "]),
        ("cache ", "", ["invalidate", "stats"]),
        ("cache invalidate f", "f", ["flights "]),
        ("query flights --ind", "--ind", ["--index"]),
        ("stream flights --res", "--res", ["--resume"]),
        ("query flights --index ", "", ["by_carrier", "@table"]),
        ("query flights -o c", "c", ["csv"]),
        ("count flights -o ", "", ["table", "vertical", "jsonl", "json"]),
        ("query flights --columns carrier,di", "di", ["distance"]),
        ("query flights 'carrier = :c AND dis", "dis", ["distance"]),
        ('query flights "carrier = :c AND beg', "beg", ["begins_with("]),
        ("query flights 'dis", "'dis", ["'distance"]),
        ("query other 'car", "'car", []),
        ("nonsense flights ", "", []),
        ("query flights '--", "'--", []),
    ],
)
def test_completion(line: str, text: str, found: list[str]) -> None:
    """Tables, attributes, indexes, options and forms are completed where they can stand."""
    assert complete(line, text, Names()) == found


async def run_script(environment: dict[str, str], *lines: str) -> Outcome:
    """Run the shell with a script as its input."""
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "shell"),
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate("\n".join(lines).encode())
    return Outcome(await process.wait(), output.decode(), errors.decode())


async def test_a_script(environment: dict[str, str], service: FakeService) -> None:
    """Lines from a pipe run one after another on one connection, up to the end or `exit`."""
    outcome = await run_script(
        environment,
        "# a comment",
        "",
        "query numbers 'n > 5' --page-size 1  # and another",
        "count numbers",
        "exit",
        "nonsense",
    )
    assert (outcome.status, outcome.output) == (0, '{"n": 0}\n1000\n')
    assert service.requests[0].query.expression == "n > 5"


@pytest.mark.parametrize(
    ("line", "status", "words"),
    [
        ("query", 2, "TABLE"),
        ("nonsense", 2, "invalid choice: 'nonsense'"),
        ("query numbers 'n", 2, "No closing quotation: quotes come in pairs"),
        ("query numbers --target 127.0.0.1:1", 2, "the connection is the shell's"),
        ("query numbers --tls", 2, "the connection is the shell's"),
        ("shell", 2, "not in the shell"),
        ("get numbers --key n:=-1", 1, ""),
    ],
)
async def test_a_script_ends_at_the_first_failure(
    environment: dict[str, str], line: str, status: int, words: str
) -> None:
    """A command that fails ends a script with its exit code."""
    outcome = await run_script(environment, line, "count numbers")
    assert outcome.status == status
    assert "1000" not in outcome.output
    assert words in outcome.errors


async def test_a_person(environment: dict[str, str], service: FakeService, tmp_path: Path) -> None:
    """On a terminal errors do not end the shell, Tab completes, and the history is kept."""
    environment["XDG_STATE_HOME"] = str(tmp_path)
    service.tables.tables.add(name="numbers", description="A few.")
    service.table.table.name = "numbers"
    service.table.table.key.partition.add(name="first_number")
    ours, theirs = pty.openpty()
    process = popen([*COMMAND, "shell"], environment, theirs, theirs, theirs)
    os.close(theirs)
    shown = ""

    async def until(words: str) -> None:
        nonlocal shown
        while words not in shown:
            ready, _, _ = await asyncio.to_thread(select.select, [ours], [], [], PATIENCE)
            assert ready, f"it does not show {words!r}, but {shown!r}"
            shown += os.read(ours, 4_096).decode()
        shown = shown.partition(words)[2]

    await until("ddbq> ")
    os.write(ours, b"nonsense\n")
    await until("invalid choice")
    await until("ddbq> ")
    os.write(ours, b"count num\t'first_n\t = 1'\n")
    await until("1000")
    await until("ddbq> ")
    service.hang_after = 1
    os.write(ours, b"stream numbers -o jsonl\n")
    await until('{"n": 99}')
    process.send_signal(signal.SIGINT)
    await until("interrupted")
    await until("ddbq> ")
    os.write(ours, b"half a line")
    await until("half a line")
    process.send_signal(signal.SIGINT)
    await until("ddbq> ")
    os.write(ours, b"\x04")
    assert await asyncio.to_thread(process.wait) == 0
    os.close(ours)
    assert service.count_requests[0].query.table == "numbers"
    assert service.count_requests[0].query.expression == "first_number = 1"
    assert service.deadlines[-1] is None, "a stream has no deadline, in the shell as elsewhere"
    history = history_path({"XDG_STATE_HOME": str(tmp_path)})
    assert history.read_text().splitlines()[1] == "count numbers 'first_number = 1'"
    assert history.stat().st_mode & 0o777 == 0o600
