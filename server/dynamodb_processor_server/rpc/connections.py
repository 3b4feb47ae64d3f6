"""Finds and closes the server's connections through the operating system.

gRPC bounds the number of a server's connections. But Python neither sees the connections that make
no call, nor can it close one. This module does both on the file descriptors of the process, where
the platform lists them (`/proc/self/fd` or `/dev/fd`). Elsewhere it finds nothing, and only gRPC's
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
_CHECK_SECONDS: Final = 0.5  # between two checks
_RECHECK_SECONDS: Final = 0.1  # after a check that closed a connection
# Checks that do not count by address, as long as the total is the same.
_MAX_SKIPPED_CHECKS: Final = 20
# Linux's `struct tcp_info`: milliseconds since data was last received, and bytes received.
_TCP_INFO: Final = struct.Struct("=52xI72xQ")
# Bytes of an HTTP/2 connection preface; a client that has sent no more has made no call. The
# handshake of TLS is longer, so that behind it the silence alone decides.
_MAX_GREETING_BYTES: Final = 128

Peer = tuple[str, int]


class ConnectionGuard:
    """Closes connections: named ones, and the excess ones of an address that has too many."""

    def __init__(self, limit: int) -> None:
        """Create a guard; no address has more than half of `limit` connections for long."""
        self.ports: set[int] = set()
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
                closed = await asyncio.to_thread(close_connections, self.ports, named, limit)
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
    """Return the number of this process's open file descriptors, 0 where it is not known."""
    return len(_descriptors())


def close_connections(ports: Collection[int], named: Collection[Peer], max_per_address: int) -> int:
    """Close connections to the ports of this server, and return how many were closed.

    Args:
        ports: The local ports.
        named: Peers whose connections are closed.
        max_per_address: Connections of one address that stay open. Of an address with more, those
            that have sent no call are closed first, then those that have been silent longest.
    """
    idle: dict[str, list[tuple[tuple[bool, int], int, Peer]]] = defaultdict(list)
    closed = 0
    for number in _descriptors():
        with _connection(number, ports) as found:
            if found is not None and found.peer in named:
                closed += found.close()
            elif found is not None:
                idle[found.peer[0]].append((found.idle, number, found.peer))
    for connections in idle.values():
        excess = max(0, len(connections) - max_per_address)
        for _, number, peer in sorted(connections, reverse=True)[:excess]:
            with _connection(number, ports) as found:
                if found is not None and found.peer == peer:
                    closed += found.close()
    return closed


class _Connection:
    """One connection, on a duplicate of its descriptor, as gRPC may close its own at any moment."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        host, port = sock.getpeername()[:2]
        self.peer: Peer = (host.removeprefix("::ffff:"), port)

    @property
    def idle(self) -> tuple[bool, int]:
        """Whether no call was made, and milliseconds since data was received; zeros off Linux."""
        if sys.platform != "linux":
            return False, 0
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        if len(info) < _TCP_INFO.size:
            return False, 0
        since, received = _TCP_INFO.unpack(info)
        return received < _MAX_GREETING_BYTES, since

    def close(self) -> bool:
        """Shut the socket down, so that gRPC closes it; return whether that was possible."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return False
        return True


@contextmanager
def _connection(number: int, ports: Collection[int]) -> Iterator[_Connection | None]:
    """Yield the connection of a descriptor, None if it is no connection to those local ports."""
    sock: socket.socket | None = None
    found: _Connection | None = None
    # The descriptor may have been closed, or reused for something else.
    with suppress(OSError):
        if stat.S_ISSOCK(os.fstat(number).st_mode):
            sock = socket.socket(fileno=os.dup(number))
            is_tcp = sock.family in (socket.AF_INET, socket.AF_INET6)
            if is_tcp and sock.getsockname()[1] in ports:
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
