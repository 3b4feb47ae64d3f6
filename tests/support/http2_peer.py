"""A client of HTTP/2 that sends calls and takes no answer, which no library of gRPC lets one do."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
END_STREAM, END_HEADERS = 1, 4
_INITIAL_WINDOW_SIZE: Final = 4


class SilentPeer:
    """A connection whose every stream has a flow-control window of 0: nothing can be sent to it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._streams = 0
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, _setting(_INITIAL_WINDOW_SIZE, 0)))

    async def call(self, method: str, request: bytes, key: str = "", *, whole: bool = True) -> None:
        """Send a call, or half of it, with an API key or without; `method` has its slashes."""
        number = self._streams * 2 + 1
        self._streams += 1
        message = struct.pack(">BI", 0, len(request)) + request
        self._writer.write(frame(HEADERS, END_HEADERS, number, call_headers(method, key)))
        data = message if whole else message[: len(message) // 2]
        self._writer.write(frame(DATA, END_STREAM if whole else 0, number, data))
        await self._writer.drain()


@asynccontextmanager
async def silent_peer(address: str) -> AsyncIterator[SilentPeer]:
    """Connect to HOST:PORT for the time of the `async with`."""
    host, _, port = address.rpartition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    try:
        yield SilentPeer(writer)
    finally:
        writer.transport.abort()


def call_headers(method: str, key: str = "") -> bytes:
    """Return the header block of a call, with an API key or without."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    if key:
        headers["x-api-key"] = key
    return b"".join(_header(name, value) for name, value in headers.items())


def _header(name: str, value: str) -> bytes:
    """Return a literal header field that is not indexed (RFC 7541, 6.2.2)."""
    return b"\0" + _sized(name) + _sized(value)


def _sized(text: str) -> bytes:
    assert len(text) < 127
    return bytes([len(text)]) + text.encode()


def _setting(identifier: int, value: int) -> bytes:
    return struct.pack(">HI", identifier, value)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
