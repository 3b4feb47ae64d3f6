"""A TCP proxy that cuts its connections after a number of bytes of the server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_CHUNK: Final = 16_384


class Link:
    """Passes connections on to one server, and cuts them on request."""

    def __init__(self, server: str) -> None:
        """Pass connections on to the server at HOST:PORT."""
        host, _, port = server.rpartition(":")
        self._server = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._left: int | None = None
        self._is_once = True
        self._is_down = False
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        """Where it listens, HOST:PORT."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def cut_after(self, size: int, *, once: bool) -> None:
        """Cut all connections after so many bytes of the server; with `once`, take new ones."""
        with self._lock:
            self._left, self._is_once = size, once

    def heal(self) -> None:
        """Take connections again."""
        with self._lock:
            self._is_down = False

    def close(self) -> None:
        """End all connections, and take no more."""
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        if self._is_down:
            client.close()
            return
        try:
            server = socket.create_connection(self._server)
        except OSError:
            client.close()
            return
        with self._lock:
            self._open |= {client, server}
        for source, target in ((client, server), (server, client)):
            threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        is_answer = source.getpeername() == self._server
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                if is_answer and self._is_due(len(data)):
                    self._cut()
                    return
                target.sendall(data)
        self._end({source, target})

    def _is_due(self, size: int) -> bool:
        with self._lock:
            if self._left is None:
                return False
            self._left -= size
            if self._left > 0:
                return False
            self._left = None
            self._is_down = not self._is_once
            return True

    def _cut(self) -> None:
        with self._lock:
            ended = set(self._open)
        self._end(ended)

    def _end(self, ended: set[socket.socket]) -> None:
        with self._lock:
            ended &= self._open
            self._open -= ended
        for each in ended:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def open_link(server: str) -> Iterator[Link]:
    """Run a link for the time of the `with`."""
    link = Link(server)
    try:
        yield link
    finally:
        link.close()
