"""A server that accepts connections and never answers."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_server() -> Iterator[int]:
    """Listen on a port of 127.0.0.1 for the time of the `with`; no byte sent to it is read."""
    with socket.create_server(("127.0.0.1", 0), backlog=1_000) as listening:
        yield listening.getsockname()[1]
