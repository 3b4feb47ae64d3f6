"""A client of HTTP/2 that sends calls and reads no answer, which gRPC libraries do not allow."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.http2_frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    SETTINGS,
    call_headers,
    frame,
    setting,
)


class SilentPeer:
    """A connection whose every stream has a flow-control window of 0: nothing can be sent to it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._streams = 0
        self._writer.write(PREFACE + frame(SETTINGS, 0, 0, setting(INITIAL_WINDOW_SIZE, 0)))

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
