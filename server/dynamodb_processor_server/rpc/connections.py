"""The server's own connections, as the operating system sees them.

gRPC bounds how many connections a server has, but tells Python neither of those that make no call
nor lets it close one. Both are done here on the file descriptors of this process, where the
platform lists them (`/proc/self/fd` or `/dev/fd`); elsewhere nothing is found, and only gRPC's
bound holds.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn
from urllib.parse import unquote

import structlog

_log = structlog.get_logger(__name__)

_LISTS: Final = ("/proc/self/fd", "/dev/fd")
_CHECK_SECONDS: Final = 0.5  # seconds between two checks, and after one that closed something:
_RECHECK_SECONDS: Final = 0.1
# Checks that do not count by address, as long as the total is the same.
_MAX_SKIPPED_CHECKS: Final = 20
# Linux's `struct tcp_info`: the milliseconds since data last came, and the bytes that have come.
_TCP_INFO: Final = struct.Struct("=52xI72xQ")
_MAX_GREETING_BYTES: Final = 128  # bytes: what a client sends to greet, and no call

Peer = tuple[str, int]


class ConnectionGuard:
    """Closes connections: those that are named, and those of an address that has too many."""

    def __init__(self, limit: int) -> None:
        """Create it; no address has more than half of `limit` connections for long."""
        self.port = 0
        self.closed = 0
        self._max_per_address = max(1, limit // 2)
        self._to_close: set[Peer] = set()
        self._wake = asyncio.Event()

    def close(self, peers: Collection[str]) -> None:
        """Close the connections of peers, named as gRPC names them, at once."""
        self._to_close.update(peer for name in peers if (peer := peer_of(name)) is not None)
        self._wake.set()

    async def watch(self) -> NoReturn:
        """Close the named and the excess connections, until cancelled."""
        closed, seen, skipped = 0, 0, 0
        while True:
            # gRPC does not report new connections, so they are counted at intervals.
            with suppress(TimeoutError):
                async with asyncio.timeout(_RECHECK_SECONDS if closed else _CHECK_SECONDS):
                    await self._wake.wait()
            self._wake.clear()
            named, self._to_close = self._to_close, set()
            skipped += 1
            now, limit = descriptors_in_use(), self._max_per_address
            changed = closed or now != seen or skipped >= _MAX_SKIPPED_CHECKS
            closed = 0
            if named or (now > limit and changed):
                closed = await asyncio.to_thread(close_connections, self.port, named, limit)
                seen, skipped = now - closed, 0
            if closed:
                self.closed += closed
                _log.warning("connections_closed", connections=closed)


def peer_of(name: str) -> Peer | None:
    """Return host and port of a peer as gRPC names it, such as "ipv6:%5B::1%5D:40000"."""
    kind, _, address = unquote(name).partition(":")
    host, _, port = address.rpartition(":")
    return (host.strip("[]"), int(port)) if kind in ("ipv4", "ipv6") and port.isdigit() else None


def descriptors_in_use() -> int:
    """Return how many file descriptors this process has open, 0 where the platform does not say."""
    return len(_descriptors())


def close_connections(port: int, doomed: Collection[Peer], most: int) -> int:
    """Close connections to a port of ours; return how many.

    Args:
        port: The local port.
        doomed: Whose connections are closed.
        most: How many of one address are left open; of more, those are closed that have sent no
            call, and then those that have sent nothing for the longest time.
    """
    idle: dict[str, list[tuple[tuple[bool, int], int, Peer]]] = defaultdict(list)
    closed = 0
    for number in _descriptors():
        with _connection(number, port) as found:
            if found is not None and found.peer in doomed:
                closed += found.close()
            elif found is not None:
                idle[found.peer[0]].append((found.idle, number, found.peer))
    for connections in idle.values():
        surplus = sorted(connections, reverse=True)[: max(0, len(connections) - most)]
        for _, number, peer in surplus:
            with _connection(number, port) as found:
                if found is not None and found.peer == peer:
                    closed += found.close()
    return closed


class _Connection:
    """One connection, on a descriptor of its own: gRPC may close its own at any moment."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        host, port = sock.getpeername()[:2]
        self.peer: Peer = (host.removeprefix("::ffff:"), port)

    @property
    def idle(self) -> tuple[bool, int]:
        """Whether no call came, and the milliseconds since data last came; zeros off Linux."""
        if sys.platform != "linux":
            return False, 0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        if len(info) < _TCP_INFO.size:
            return False, 0
        since, received = _TCP_INFO.unpack(info)
        return received < _MAX_GREETING_BYTES, since

    def close(self) -> bool:
        """Shut it down, so that gRPC closes it; return whether that was possible."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        return True


@contextmanager
def _connection(number: int, port: int) -> Iterator[_Connection | None]:
    """Give the connection of a descriptor; None if it is none to that local port."""
    sock: socket.socket | None = None
    found: _Connection | None = None
    # It may have been closed, or be something else by now.
    with suppress(OSError):
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            sock = socket.socket(fileno=os.dup(number))
            if sock.family in (socket.AF_INET, socket.AF_INET6) and sock.getsockname()[1] == port:
                found = _Connection(sock)
    try:
        yield found
    finally:
        if sock is not None:
            sock.close()


def _descriptors() -> list[int]:
    for folder in _LISTS:
        with suppress(OSError):
            return [int(name) for name in os.listdir(folder) if name.isdigit()]  # noqa: PTH208 - twice as fast
    return []
