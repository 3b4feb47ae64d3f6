"""`ddbq` with each of its three standard streams a terminal, a pipe, a file, or closed."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from itertools import product
from pathlib import Path
from typing import Literal

import pytest

from tests.unit.client.commands import COMMAND, read_all
from tests.unit.client.service import FakeService, numbered

Kind = Literal["terminal", "pipe", "file"]
KINDS: tuple[Kind, ...] = ("terminal", "pipe", "file")


class End:
    """One standard stream of a command: what the command gets, and what came out of it."""

    def __init__(self, kind: Kind, file: Path) -> None:
        self._file = file
        self._read_from: int | None = None
        self._shown: asyncio.Task[str] | None = None
        if kind == "terminal":
            self._read_from, self.given = pty.openpty()
        elif kind == "pipe":
            self._read_from, self.given = os.pipe()
        else:
            self.given = os.open(file, os.O_RDWR | os.O_CREAT)

    def hand_over(self) -> None:
        """Let the command alone hold its end, and take in what comes out of it."""
        os.close(self.given)
        if self._read_from is not None:
            self._shown = asyncio.create_task(asyncio.to_thread(read_all, self._read_from))

    async def text(self) -> str:
        """Return everything that the command wrote, after it has ended."""
        if self._shown is None:
            return self._file.read_text(encoding="utf-8")
        return await self._shown


async def run_between(
    stdin: Kind, stdout: Kind, stderr: Kind, environment: dict[str, str], folder: Path, *what: str
) -> tuple[int, str, str]:
    """Run the command with such standard streams; return its status and what it wrote."""
    ends = [End(kind, folder / str(place)) for place, kind in enumerate((stdin, stdout, stderr))]
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *what,
        env=environment,
        stdin=ends[0].given,
        stdout=ends[1].given,
        stderr=ends[2].given,
    )
    for end in ends:
        end.hand_over()
    status = await process.wait()
    _, output, errors = [await end.text() for end in ends]
    return status, output, errors


@pytest.mark.parametrize(("stdin", "stdout", "stderr"), list(product(KINDS, repeat=3)))
async def test_every_item_arrives(
    stdin: Kind,
    stdout: Kind,
    stderr: Kind,
    environment: dict[str, str],
    service: FakeService,
    tmp_path: Path,
) -> None:
    """Standard output gets every item, whatever the other two streams are."""
    service.items = numbered(150)
    status, output, errors = await run_between(
        stdin, stdout, stderr, environment, tmp_path, "stream", "numbers"
    )
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
