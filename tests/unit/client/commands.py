"""Runs `ddbq` as a separate process, with pipes or with a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

COMMAND = (sys.executable, "-m", "dynamodb_processor_client.command")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit status and the output of a run of the command."""

    status: int
    output: str
    errors: str

    @property
    def lines(self) -> list[Any]:
        """The lines of the output as JSON."""
        return [json.loads(line, parse_float=Decimal) for line in self.output.splitlines()]


Run = Callable[..., Coroutine[Any, Any, Outcome]]


async def run_with(environment: dict[str, str], *arguments: str) -> Outcome:
    """Run the command with its output in pipes."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *arguments,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    return Outcome(await process.wait(), output.decode(), errors.decode())


async def run_on_terminal(environment: dict[str, str], *arguments: str) -> Outcome:
    """Run the command on a terminal of its own, which shows output and errors alike."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, env=environment, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = await asyncio.to_thread(read_all, ours)
    return Outcome(await process.wait(), shown, "")


def read_all(end: int) -> str:
    """Return everything from a terminal or a pipe until the last writer has closed it."""
    shown = b""
    try:
        while found := os.read(end, 65_536):
            shown += found
    except OSError:  # Linux reports the end of a terminal so.
        pass
    os.close(end)
    return shown.decode()
