"""A client of HTTP/2 that begins requests and does not end them, within the server's limits."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from tests.support.http2_frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    call_headers,
    frame,
)

_WINDOW: Final = 65_535  # Of streams and connections, where a server says nothing else.
_MOST: Final = 16_384  # Bytes of one frame.


class SlowClient:
    """A connection that sends as much of each request as flow control allows, but its last byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sent = 0
        self.closed = False
        self._reader = reader
        self._writer = writer
        self._next = 1
        self._initial = _WINDOW
        self._window = _WINDOW
        self._windows: dict[int, int] = {}
        self._heads: dict[int, bytes] = {}
        self._left: dict[int, int] = {}
        writer.write(PREFACE + frame(SETTINGS, 0, 0))

    @property
    def open(self) -> int:
        """The calls that the server has not ended."""
        return 0 if self.closed else len(self._left)

    async def begin(self, method: str, size: int, key: str = "") -> None:
        """Begin a call whose request has `size` bytes; `method` has its slashes."""
        number, self._next = self._next, self._next + 2
        self._left[number] = size - 1
        self._heads[number] = struct.pack(">BI", 0, size)
        self._windows[number] = self._initial
        self._writer.write(frame(HEADERS, END_HEADERS, number, call_headers(method, key)))
        self._fill()
        await self._writer.drain()

    async def read(self) -> None:
        """Follow the server's frames until it closes the connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3]))
                self._take(head[3], head[4], int.from_bytes(head[5:]), payload)
                self._fill()
                await self._writer.drain()
        self.closed = True

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == WINDOW_UPDATE and number:
            self._windows[number] = self._windows.get(number, 0) + int.from_bytes(payload)
        elif kind == WINDOW_UPDATE:
            self._window += int.from_bytes(payload)
        elif kind == SETTINGS and not flags & ACK:
            for name, value in struct.iter_unpack(">HI", payload):
                if name == INITIAL_WINDOW_SIZE:
                    change, self._initial = value - self._initial, value
                    self._windows = {each: left + change for each, left in self._windows.items()}
            self._writer.write(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self._writer.write(frame(PING, ACK, 0, payload))
        elif kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self._left.pop(number, None)

    def _fill(self) -> None:
        for number in list(self._left):
            if number in self._heads and self._allowed(number) > 5:
                self._send(number, self._heads.pop(number))
            while number not in self._heads and (size := self._allowed(number)):
                self._left[number] -= size
                self._send(number, bytes(size))

    def _allowed(self, number: int) -> int:
        return max(0, min(self._left[number], self._windows[number], self._window, _MOST))

    def _send(self, number: int, data: bytes) -> None:
        self._writer.write(frame(DATA, 0, number, data))
        self._windows[number] -= len(data)
        self._window -= len(data)
        self.sent += len(data)


@asynccontextmanager
async def slow_client(address: str, source: str | None = None) -> AsyncIterator[SlowClient]:
    """Connect to HOST:PORT for the time of the `async with`, from the address `source` if given."""
    host, _, port = address.rpartition(":")
    local = (source, 0) if source else None
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=local)
    client = SlowClient(reader, writer)
    reading = asyncio.create_task(client.read())
    try:
        yield client
    finally:
        reading.cancel()
        await asyncio.wait((reading,))
        writer.transport.abort()
