"""A server that takes connections and never answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port of 127.0.0.1 for the time of the `with`; nobody reads what is sent to it."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as listening:
        yield listening.getsockname()[1]
