"""Real server processes: `dynamodb-processor serve` as an operator runs it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from tests.support.backends import AWS_ENVIRONMENT, FOREIGN_VARIABLES
from tests.support.lengths import PATIENCE
from tests.support.scraping import scraped_sum

_PREFIX = "DYNAMODB_PROCESSOR_"


class ServerFailed(Exception):
    """A server did not start, or did not stop in time; the text ends with its output."""


@dataclass(slots=True, eq=False)
class ServerProcess:
    """A running `dynamodb-processor serve`.

    `address` is the host and port on which it reports to serve. `lines` is its output so far, in
    order, standard output and standard error together.
    """

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    address: str = ""
    _printed: threading.Condition = field(default_factory=threading.Condition)
    _reader: threading.Thread | None = None

    @property
    def output(self) -> str:
        """The output so far."""
        with self._printed:
            return "\n".join(self.lines)

    @property
    def records(self) -> list[dict[str, Any]]:
        """The log records printed so far."""
        with self._printed:
            return [record for line in self.lines if (record := _record(line)) is not None]

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def wait_for_event(self, event: str, *, timeout: float = PATIENCE) -> dict[str, Any]:
        """Return the first log record of an event, waiting for it.

        Args:
            event: the record's `event`.
            timeout: in seconds.

        Raises:
            ServerFailed: the process ended, or time was up, without such a record.
        """
        deadline = time.monotonic() + timeout
        seen = 0
        with self._printed:
            while True:
                for line in self.lines[seen:]:
                    record = _record(line)
                    if record is not None and record.get("event") == event:
                        return record
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if left <= 0 or self._ended():
                    break
                # Bounded, because a process may end without a further line.
                self._printed.wait(min(left, 0.2))
        state = "ended" if self._ended() else f"took more than {timeout} s"
        raise ServerFailed(f"the server {state} before {event!r}:\n{self.output}")

    def seconds_between(self, first: str, second: str) -> float:
        """Return the seconds between two events, by the log's own times."""
        began, ended = (
            datetime.fromisoformat(self.wait_for_event(event)["timestamp"])
            for event in (first, second)
        )
        return (ended - began).total_seconds()

    def metric(self, name: str, labels: str = "") -> float:
        """Return the sum of a metric's samples whose labels match a pattern."""
        return scraped_sum(self.metrics_address, name, labels)

    @property
    def metrics_address(self) -> str:
        """Where the metrics are served, HOST:PORT."""
        return f"127.0.0.1:{self.wait_for_event('serving')['metrics_port']}"

    def signal(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the process a signal, if it still runs."""
        if self.process.poll() is None:
            self.process.send_signal(number)

    def wait(self, *, timeout: float = PATIENCE) -> int:
        """Return the exit code, waiting for the end and the last line printed.

        Raises:
            ServerFailed: it still runs after `timeout` seconds. It is then killed.
        """
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self._join()
            raise ServerFailed(f"still running after {timeout} s:\n{self.output}") from None
        self._join()
        return code

    def stop(self, *, timeout: float = PATIENCE) -> int:
        """Ask the process to end and return its exit code. It may have ended already."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout=timeout)

    def _ended(self) -> bool:
        """Whether the process has ended and all its output was read."""
        return self.process.poll() is not None and not (self._reader and self._reader.is_alive())

    def _follow(self) -> None:
        self._reader = threading.Thread(target=self._read, name="server output", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        stream = self.process.stdout
        if stream is None:
            raise AssertionError("the process was started without a pipe for its output")
        with stream:
            for line in stream:
                with self._printed:
                    self.lines.append(line.rstrip("\n"))
                    self._printed.notify_all()
        with self._printed:
            self._printed.notify_all()

    def _join(self) -> None:
        if self._reader is not None:
            self._reader.join(10)


def start_command(
    arguments: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> ServerProcess:
    """Start `dynamodb-processor` with the arguments and follow its output.

    Args:
        arguments: the command line after the program's name.
        env: variables besides the tests' own; see `clean_environment`.
        cwd: the folder to run in.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "dynamodb_processor_server", *arguments],
        cwd=cwd,
        env=clean_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    started = ServerProcess(process)
    started._follow()
    return started


@contextlib.contextmanager
def served(
    catalog: str | Mapping[str, Any],
    keys: str | Mapping[str, Any],
    directory: Path,
    *,
    endpoint_url: str | None = None,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    ready_timeout: float = PATIENCE,
) -> Iterator[ServerProcess]:
    """Run a server on a port of its choice until the block ends.

    Args:
        catalog: the catalog file's text, or its content.
        keys: the keys file's text, or its content.
        directory: where `catalog.yaml` and `keys.yaml` are written; change them there to see a
            reload.
        endpoint_url: the DynamoDB endpoint; AWS's own when absent.
        args: more arguments for `serve`. Those given later win.
        env: more variables for the process.
        ready_timeout: how long it may take to log "serving", in seconds.

    Raises:
        ServerFailed: it does not start, or does not end when the block does.
    """
    catalog_file = _write(directory / "catalog.yaml", catalog)
    keys_file = _write(directory / "keys.yaml", keys)
    arguments = ["serve", "--catalog", str(catalog_file), "--keys", str(keys_file)]
    arguments += ["--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]
    arguments += ["--log-format", "json"]
    if endpoint_url is not None:
        arguments += ["--endpoint-url", endpoint_url]
    server = start_command([*arguments, *args], env=env, cwd=directory)
    try:
        server.address = str(server.wait_for_event("serving", timeout=ready_timeout)["address"])
        yield server
    finally:
        server.stop()


@contextlib.asynccontextmanager
async def serving(*what: Any, **how: Any) -> AsyncIterator[ServerProcess]:
    """Run a server as `served` does, while the event loop goes on."""
    life = served(*what, **how)
    server = await asyncio.to_thread(life.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(life.__exit__, None, None, None)


def free_address() -> str:
    """Return a free address of this machine, HOST:PORT."""
    return f"127.0.0.1:{free_port()}"


def free_port() -> int:
    """Return a free port of this machine."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment for a child, without variables that would disturb a test."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in FOREIGN_VARIABLES and not name.startswith(_PREFIX)
    }
    return kept | AWS_ENVIRONMENT | dict(more or {})


def _write(file: Path, content: str | Mapping[str, Any]) -> Path:
    text = content if isinstance(content, str) else yaml.safe_dump(dict(content), sort_keys=False)
    file.write_text(text, "utf-8")
    return file


def _record(line: str) -> dict[str, Any] | None:
    """Return the log record on a line, or None for another line."""
    if not line.startswith("{"):
        return None
    with contextlib.suppress(ValueError):
        record = json.loads(line)
        return record if isinstance(record, dict) else None
    return None
