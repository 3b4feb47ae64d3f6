"""Calls by curl, as a reader would make them."""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dynamodb_processor_server.demo.failure import DemoFailed

_SECONDS: Final = "30"


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def messages(self) -> list[Any]:
        """The JSON values of the body, one of each line."""
        return [json.loads(line) for line in self.body.splitlines() if line.strip()]

    @property
    def content(self) -> dict[str, Any]:
        """The JSON object of the body."""
        (found,) = self.messages
        assert isinstance(found, dict)
        return found


def command_line(url: str, headers: Sequence[str], body: Any, method: str | None) -> list[str]:
    """Return the command that makes a request; a body is sent as JSON, by POST."""
    command = ["curl", "--silent", "--show-error"]
    if method is not None:
        command += ["--request", method]
    for header in headers:
        command += ["--header", header]
    if body is not None:
        command += ["--header", "content-type: application/json"]
        command += ["--data", json.dumps(body, ensure_ascii=False, separators=(",", ":"))]
    return [*command, url]


async def run(command: Sequence[str]) -> Answer:
    """Run a command of `command_line`, and return the response.

    Raises:
        DemoFailed: curl is not installed, or got no response.
    """
    program, *arguments = command
    with tempfile.TemporaryDirectory() as folder:
        # Beside the body: a stream's trailers are written with the headers.
        written = Path(folder) / "headers"
        try:
            process = await asyncio.create_subprocess_exec(
                *(program, "--dump-header", str(written), "--max-time", _SECONDS, *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except FileNotFoundError:
            raise DemoFailed("curl is not installed") from None
        body, errors = await process.communicate()
        if process.returncode != 0:
            raise DemoFailed(f"{shlex.join(command)}\n{errors.decode().strip()}")
        head, _, _ = written.read_bytes().partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Answer(int(first.split()[1]), headers, body)
