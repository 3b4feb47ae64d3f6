"""A log that cannot be written: the server serves, reloads and drains all the same."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.event_service import CATALOG, ENVIRONMENT, READER
from tests.support.events import LONG
from tests.support.messages import spec
from tests.support.processes import clean_environment, free_address
from tests.support.running import eventually
from tests.support.scraping import scraped_sum

_LATER: Final = ApiKey("later")
_QUERY: Final = QueryRequest(query=spec("events", "user_id = :u", {"u": {"S": LONG}}), page_size=1)
_PATIENCE: Final = 60.0
_PIPE_BYTES: Final = 4096


@dataclass(slots=True)
class Unlogged:
    """A server process whose log is not read."""

    process: subprocess.Popen[bytes]
    address: str
    metrics: str
    directory: Path

    def metric(self, name: str) -> float:
        """Return a metric without labels."""
        return scraped_sum(self.metrics, name)


Start = Callable[..., Unlogged]


@pytest.fixture
def start(tmp_path: Path, events: str) -> Iterator[Start]:
    """A function that starts a server with the given standard error, which is closed if None."""
    with ExitStack() as stack:

        def begin(stderr: int | None) -> Unlogged:
            address, metrics = free_address(), free_address()
            command = [sys.executable, "-m", "dynamodb_processor_server", "serve"]
            command += ["--catalog", "catalog.yaml", "--keys", "keys.yaml", "--listen", address]
            command += ["--metrics-listen", metrics, "--endpoint-url", events]
            command += ["--reload-interval", "0.05"]
            if stderr is None:
                command = ["sh", "-c", 'exec "$@" 2>&-', "sh", *command]
            _write(tmp_path, "catalog.yaml", CATALOG)
            _write(tmp_path, "keys.yaml", keys_file(READER))
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                env=clean_environment(ENVIRONMENT),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
            stack.callback(process.wait)
            stack.callback(process.kill)
            return Unlogged(process, address, metrics, tmp_path)

        yield begin


def _write(directory: Path, name: str, content: Any) -> None:
    """Write a file atomically."""
    draft = directory / "draft"
    draft.write_text(yaml.safe_dump(content), "utf-8")
    draft.replace(directory / name)


@pytest.fixture
def full_disk() -> Iterator[int]:
    """A file that accepts no byte, as on a full disk."""
    with Path("/dev/full").open("wb", buffering=0) as file:
        yield file.fileno()


@pytest.fixture
def stalled_pipe() -> Iterator[tuple[int, int]]:
    """The two ends of a pipe that holds 4 KiB and is not read."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    yield reader, writer
    for end in (reader, writer):
        os.close(end)


@pytest.fixture
def broken_pipe() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


async def works_and_drains(server: Unlogged) -> None:
    """Check that a server answers, reloads its files, is alive, and ends by SIGTERM."""
    async with open_caller(server.address, READER.text) as caller:
        await asyncio.wait_for(caller.channel.channel_ready(), _PATIENCE)
        await answers(caller)
        for _ in range(50):  # Their lines are more than the pipe holds.
            await caller.query(_QUERY)

        _write(server.directory, "keys.yaml", keys_file(READER, _LATER))
        await eventually(lambda: answers(caller.using(_LATER.text)), patience=_PATIENCE)
        _write(server.directory, "keys.yaml", keys_file(READER))
        await eventually(lambda: refuses(caller.using(_LATER.text)), patience=_PATIENCE)
        tables = {name: {"table": "e2e-events"} for name in ("events", "later")}
        _write(server.directory, "catalog.yaml", {"tables": tables})
        await eventually(lambda: has_table(caller, "later"), patience=_PATIENCE)

        stub: Any = health_pb2_grpc.HealthStub(caller.channel)
        alive = await stub.Check(health_pb2.HealthCheckRequest(service="liveness"), timeout=10)
        assert alive.status == health_pb2.HealthCheckResponse.SERVING
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, _PATIENCE) == 0


async def answers(caller: Caller) -> bool:
    """Return whether a caller gets a page."""
    try:
        return len((await caller.query(_QUERY)).items) == 1
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return False
        raise


async def refuses(caller: Caller) -> bool:
    """Return whether a caller is refused."""
    return not await answers(caller)


async def has_table(caller: Caller, name: str) -> bool:
    """Return whether a table is in the catalog."""
    listed = await caller.catalog.ListTables(ListTablesRequest(), metadata=caller.metadata)
    return name in [table.name for table in listed.tables]


async def test_a_full_disk(start: Start, full_disk: int) -> None:
    """Every write fails, and the server works on."""
    await works_and_drains(start(full_disk))


async def test_a_reader_that_has_gone(start: Start, broken_pipe: int) -> None:
    """The server works on, as when a log collector was restarted."""
    await works_and_drains(start(broken_pipe))


async def test_a_closed_standard_error(start: Start) -> None:
    """Each line is counted as dropped."""
    server = start(None)
    async with open_caller(server.address, READER.text) as caller:
        await asyncio.wait_for(caller.channel.channel_ready(), _PATIENCE)
        await answers(caller)
    await eventually(lambda: server.metric("log_lines_dropped_total") >= 2)
    await works_and_drains(server)


async def test_a_reader_that_stalls(start: Start, stalled_pipe: tuple[int, int]) -> None:
    """Lines that do not fit the pipe wait in the process, and nothing else waits."""
    _, writer = stalled_pipe
    await works_and_drains(start(writer))


async def test_a_reader_that_goes_on(start: Start, stalled_pipe: tuple[int, int]) -> None:
    """Waiting lines are written once there is room."""
    reader, writer = stalled_pipe
    server = start(writer)
    async with open_caller(server.address, READER.text) as caller:
        await asyncio.wait_for(caller.channel.channel_ready(), _PATIENCE)
        for _ in range(50):
            await answers(caller)
    text = b""
    while text.count(b'"event":"call"') < 50:
        text += await asyncio.to_thread(os.read, reader, _PIPE_BYTES)
    assert server.metric("log_lines_dropped_total") == 0
    server.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, _PATIENCE) == 0
