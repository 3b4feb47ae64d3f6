"""A TCP proxy that keeps the bytes of a gRPC server, and reads them as messages and trailers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from google.rpc.status_pb2 import Status
from hpack import Decoder

from tests.support.http2_frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PADDED,
    PRIORITY,
)

_PREFIX: Final = 5  # Bytes before a message: whether it is compressed, and its length.


@dataclass
class Answer:
    """One call as the server answered it. `headers` are those at the start and at the end."""

    data: bytearray = field(default_factory=bytearray)
    headers: dict[str, bytes] = field(default_factory=dict)
    ended: bool = False

    @property
    def messages(self) -> list[bytes]:
        """The messages, as they were serialized."""
        return list(self._messages())

    def _messages(self) -> Iterator[bytes]:
        at = 0
        while at < len(self.data):
            assert self.data[at] == 0, "responses are not compressed here"
            length = int.from_bytes(self.data[at + 1 : at + _PREFIX], "big")
            yield bytes(self.data[at + _PREFIX : at + _PREFIX + length])
            at += _PREFIX + length

    @property
    def status(self) -> Status:
        """The status with its details."""
        packed = self.headers.get("grpc-status-details-bin")
        if packed is not None:
            # Clients that ask for it get the bytes themselves, after a zero.
            if packed.startswith(b"\0"):
                return Status.FromString(packed[1:])
            return Status.FromString(base64.b64decode(packed + b"=" * (-len(packed) % 4)))
        return Status(code=int(self.headers["grpc-status"]))


class _Reader:
    """Parses the HTTP/2 frames that a server sends on one connection (RFC 9113)."""

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers
        self._streams: dict[int, Answer] = {}
        self._buffer = bytearray()
        self._block = bytearray()
        self._headers = Decoder()

    def feed(self, data: bytes) -> None:
        """Parse further bytes."""
        self._buffer += data
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFF_FFFF
            payload = bytes(self._buffer[9 : 9 + length])
            del self._buffer[: 9 + length]
            if kind in (DATA, HEADERS, CONTINUATION):
                self._take(kind, flags, stream, payload)

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if flags & PADDED and kind != CONTINUATION:
            payload = payload[1 : len(payload) - payload[0]]
        if stream not in self._streams:
            self._streams[stream] = Answer()
            self._answers.append(self._streams[stream])
        answer = self._streams[stream]
        if kind == DATA:
            answer.data += payload
        else:
            self._block += payload[5:] if flags & PRIORITY and kind == HEADERS else payload
            if flags & END_HEADERS:
                fields: Any = self._headers.decode(bytes(self._block), raw=True)
                answer.headers.update((name.decode(), value) for name, value in fields)
                self._block.clear()
        if kind != CONTINUATION and flags & END_STREAM:
            answer.ended = True


class Recorder:
    """Passes connections on to one server; `answers` are its answers, by the start of each."""

    def __init__(self, address: str) -> None:
        self._upstream = address
        self.answers: list[Answer] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """The host and port to call."""
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End all connections."""
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        host, _, port = self._upstream.rpartition(":")
        upstream, sink = await asyncio.open_connection(host, int(port))
        back = asyncio.create_task(_copy(upstream, writer, _Reader(self.answers)))
        try:
            await _copy(reader, sink)
        except (OSError, asyncio.CancelledError):
            pass  # The client has gone, or all connections end.
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            self._connections.discard(task)
            for end in (writer, sink):
                end.transport.abort()


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: _Reader | None = None
) -> None:
    while data := await reader.read(65_536):
        if frames is not None:
            frames.feed(data)
        writer.write(data)
        await writer.drain()


@asynccontextmanager
async def recording(address: str) -> AsyncIterator[Recorder]:
    """Run a proxy before a server for the time of the `async with`."""
    recorder = Recorder(address)
    await recorder.start()
    try:
        yield recorder
    finally:
        await recorder.close()
