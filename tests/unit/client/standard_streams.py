"""Runs commands whose standard streams are each a terminal, a pipe, a file, or closed."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from tests.unit.client.commands import COMMAND, read_all

Kind = Literal["terminal", "pipe", "file", "closed"]
KINDS: Final[tuple[Kind, ...]] = ("terminal", "pipe", "file", "closed")


class End:
    """One standard stream of a command: the command's end, and the output read from the other."""

    def __init__(self, kind: Kind, file: Path) -> None:
        """Make a stream of this kind; `file` is where it goes if it is a file."""
        self._file = file
        self._read_from: int | None = None
        self._shown: asyncio.Task[str] | None = None
        self.given: int | None = None
        if kind == "terminal":
            self._read_from, self.given = pty.openpty()
        elif kind == "pipe":
            self._read_from, self.given = os.pipe()
        elif kind == "file":
            self.given = os.open(file, os.O_RDWR | os.O_CREAT)

    def hand_over(self) -> None:
        """Leave the command's end to the command alone, and start to read its output."""
        if self.given is not None:
            os.close(self.given)
        if self._read_from is not None:
            self._shown = asyncio.create_task(asyncio.to_thread(read_all, self._read_from))

    async def text(self) -> str:
        """Return the whole output of the command after its end."""
        if self._shown is not None:
            return await self._shown
        return self._file.read_text(encoding="utf-8") if self._file.exists() else ""


class Started:
    """A running command with three standard streams."""

    def __init__(self, process: subprocess.Popen[bytes], ends: list[End]) -> None:
        """Watch the process; the ends are its standard streams."""
        self.process = process
        self._ends = ends

    async def ended(self) -> tuple[int, str, str]:
        """Return the exit status, and the outputs on standard output and stderr."""
        status = await asyncio.to_thread(self.process.wait)
        _, output, errors = [await end.text() for end in self._ends]
        return status, output, errors


def start_between(
    kinds: tuple[Kind, Kind, Kind], environment: dict[str, str], folder: Path, *what: str
) -> Started:
    """Start the command with these standard streams; `folder` is for their files."""
    ends = [End(kind, folder / str(index)) for index, kind in enumerate(kinds)]
    # A shell closes a stream with `>&-`; no option of Python's does.
    closing = " ".join(f"{number}>&-" for number, kind in enumerate(kinds) if kind == "closed")
    process = popen(
        ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *COMMAND, *what],
        environment,
        *(end.given for end in ends),
    )
    for end in ends:
        end.hand_over()
    return Started(process, ends)


def popen(
    command: list[str],
    environment: dict[str, str],
    stdin: int | None,
    stdout: int | None,
    stderr: int | None,
) -> subprocess.Popen[bytes]:
    """Start a process that receives Ctrl-C, even if the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)
    finally:
        signal.signal(signal.SIGINT, before)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that another process fulfils."""
    while not condition():  # noqa: ASYNC110 - the other process sets no event here
        await asyncio.sleep(0.01)
