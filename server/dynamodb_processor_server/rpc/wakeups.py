"""Wakes the event loop once for several completed operations of gRPC.

A thread of gRPC puts completed operations in a queue, and writes one byte to a socket for each. The
event loop then takes one byte, and completes all operations in the queue. The bytes of the others
wake it again for nothing. This module gives gRPC a pipe instead, of which the loop takes all bytes
at once. Decision 0034 has the figures.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any, Final

import grpc

_MAX_BYTES: Final = 4_096


class PipeEnd:
    """One end of a pipe, with the methods of a socket that gRPC calls."""

    def __init__(self, descriptor: int) -> None:
        """Wrap a descriptor. A full pipe does not block: the loop wakes for the bytes in it."""
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def setblocking(self, flag: bool) -> None:
        """Set whether reads and writes wait."""
        os.set_blocking(self._descriptor, flag)

    def recv(self, size: int) -> bytes:
        """Take all bytes in the pipe, even if there are more than `size`."""
        return os.read(self._descriptor, max(size, _MAX_BYTES))

    def close(self) -> None:
        """Close the end."""
        os.close(self._descriptor)


def share_wakeups() -> bool:
    """Start gRPC with a pipe for its wake-ups; return whether it has taken the pipe.

    To be called before anything else of `grpc.aio`, while no other thread makes pairs of sockets.
    """
    if sys.platform == "win32":  # an event loop cannot wait for a pipe there
        return False
    ends: list[PipeEnd] = []

    def pipe() -> tuple[PipeEnd, ...]:
        ends.extend(map(PipeEnd, os.pipe()))
        return tuple(ends)

    module: Any = socket
    replaced, module.socketpair = socket.socketpair, pipe
    try:
        grpc.aio.init_grpc_aio()
    finally:
        module.socketpair = replaced
    return bool(ends)
