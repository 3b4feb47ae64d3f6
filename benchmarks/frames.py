"""Unary gRPC calls as fast as a server answers them, over plain sockets.

A gRPC client that parses its answers costs more than the server does: the benchmark would measure
the client. This one writes HTTP/2 frames (RFC 9113) that were made beforehand and reads no further
than to the ends of the streams. It answers settings and pings, and keeps the windows open. The
server's metrics report the contents of the answers.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, repeat
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS: Final = 4
_FRAME: Final = struct.Struct(">BHBBI")  # The length's 8 high and 16 low bits, type, flags, stream.
_INITIAL_WINDOW_SIZE: Final = 4
_LARGEST_WINDOW: Final = 2**31 - 1
_REFILL: Final = 2**24  # Bytes received until the connection's window is opened again.
_RECEIVE: Final = 2**18
_INDEXED: Final = 0x80
_POST, _HTTP = b"\x83", b"\x86"  # `:method` and `:scheme` in the static table (RFC 7541)
_NEWEST_ENTRY: Final = 62  # Of the dynamic table.


@dataclass(frozen=True, slots=True)
class Call:
    """A unary call that is made over and over, with one serialized request after the other."""

    method: str
    metadata: tuple[tuple[str, str], ...]
    messages: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of the calls. Times are in seconds, from sending a call to its end."""

    elapsed: float
    latencies: Sequence[float]


def make_calls(
    target: str, call: Call, *, connections: int, in_flight: int, seconds: float
) -> Outcome:
    """Make calls for some seconds, `in_flight` of them on each connection at any time.

    Every connection goes through the call's messages from a place of its own.

    Raises:
        ConnectionError: A call failed, or the server ended a connection.
    """
    headers = (
        (":path", call.method),
        (":authority", target),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "10S"),
        *call.metadata,
    )
    messages = [struct.pack(">BI", 0, len(message)) + message for message in call.messages]
    share = len(messages) // connections
    opened = [
        _Connection(target, headers, islice(cycle(messages), number * share, None))
        for number in range(connections)
    ]
    started = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in opened:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.start(in_flight, started + seconds)
        while any(connection.under_way for connection in opened):
            for key, _ in selector.select():
                key.data.receive()
    elapsed = time.perf_counter() - started
    for connection in opened:
        connection.socket.close()
    latencies = [latency for connection in opened for latency in connection.latencies]
    if sum(connection.answers for connection in opened) != len(latencies):
        raise ConnectionError("calls failed: they ended without an answer")
    return Outcome(elapsed, latencies)


class _Connection:
    """A connection and its calls. `messages` are the requests to come, each with gRPC's prefix."""

    def __init__(
        self, target: str, headers: Sequence[tuple[str, str]], messages: Iterator[bytes]
    ) -> None:
        self.under_way: dict[int, float] = {}  # When each stream's call began.
        self.latencies: list[float] = []
        self.answers = 0  # Begun: a failure is a stream of nothing but its end.
        self._headers = _header_blocks(headers)
        self._messages = messages
        self._until = 0.0
        self._stream = 1
        self._unread = b""
        self._received = 0  # Bytes, since the connection's window was last opened.
        host, _, port = target.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = struct.pack(">HI", _INITIAL_WINDOW_SIZE, _LARGEST_WINDOW)
        window = struct.pack(">I", _LARGEST_WINDOW - 65_535)
        self.socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, settings) + _frame(_WINDOW_UPDATE, 0, window)
        )

    def start(self, calls: int, until: float) -> None:
        """Begin calls, each followed by another one until the time is over."""
        self._until = until
        now = time.perf_counter()
        self.socket.sendall(b"".join(self._next_call(now) for _ in range(calls)))

    def receive(self) -> None:
        """Read the received bytes, and write the replies: the next calls, most of all."""
        arrived = self.socket.recv(_RECEIVE)
        if not arrived:
            raise ConnectionError("the server closed a connection")
        data = self._unread + arrived
        now = time.perf_counter()
        replies: list[bytes] = []
        at = 0
        while len(data) - at >= _FRAME.size:
            high, low, kind, flags, stream = _FRAME.unpack_from(data, at)
            begin = at + _FRAME.size
            end = begin + (high << 16 | low)
            if end > len(data):
                break
            if kind == _DATA:
                self._received += end - begin
            elif kind == _HEADERS:
                if flags & _END_STREAM:
                    replies += self._end_call(stream, now)
                else:
                    self.answers += 1
            elif kind != _WINDOW_UPDATE:
                replies += _replies(kind, flags, data[begin:end])
            at = end
        self._unread = data[at:]
        if self._received >= _REFILL:
            replies.append(_frame(_WINDOW_UPDATE, 0, struct.pack(">I", self._received)))
            self._received = 0
        if replies:
            self.socket.sendall(b"".join(replies))

    def _end_call(self, stream: int, now: float) -> list[bytes]:
        """Record a call's end, and return the next call if there is to be one."""
        self.latencies.append(now - self.under_way.pop(stream))
        return [self._next_call(now)] if now < self._until else []

    def _next_call(self, now: float) -> bytes:
        stream = self._stream
        self._stream += 2
        self.under_way[stream] = now
        headers = _frame(_HEADERS, _END_HEADERS, next(self._headers), stream)
        return headers + _frame(_DATA, _END_STREAM, next(self._messages), stream)


def _frame(kind: int, flags: int, payload: bytes, stream: int = 0) -> bytes:
    size = len(payload)
    return _FRAME.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def _replies(kind: int, flags: int, payload: bytes) -> list[bytes]:
    """Return the server's expected reply to a frame about the connection."""
    if kind in (_RESET, _GOAWAY):
        raise ConnectionError("the server ended a call or the connection")
    if kind in (_SETTINGS, _PING) and not flags & _ACK:
        return [_frame(kind, _ACK, payload if kind == _PING else b"")]
    return []


def _header_blocks(headers: Sequence[tuple[str, str]]) -> Iterator[bytes]:
    """Yield each call's headers: written out by the first, by number in the table after that."""
    first = _POST + _HTTP
    for name, value in headers:
        first += b"\x40" + _text(name) + _text(value)
    yield first
    numbers = range(_NEWEST_ENTRY + len(headers) - 1, _NEWEST_ENTRY - 1, -1)
    yield from repeat(_POST + _HTTP + bytes(_INDEXED | number for number in numbers))


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > 126:
        raise ValueError("longer headers take more than one byte for their length")
    return bytes((len(data),)) + data
