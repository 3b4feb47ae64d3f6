"""An HTTP server that answers every request with bytes of a test, also broken ones."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Received:
    """A request: its first line, its headers with lower-case names, and its body."""

    line: str
    headers: Mapping[str, str]
    body: bytes


def response(body: bytes, status: int = 200, **headers: str) -> bytes:
    """Return an HTTP response; `_` stands for `-` in names of headers."""
    lines = [
        f"HTTP/1.1 {status} Words",
        "connection: close",
        f"content-length: {len(body)}",
    ]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class RawServer:
    """Sends `answer` to each request and closes the connection; `requests` has all that came.

    `answer` may be a function of the requests so far.
    """

    answer: bytes | Callable[[list[Received]], bytes] = b""
    requests: list[Received] = field(default_factory=list)
    port: int = 0

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            first, *lines = head.rstrip().split(b"\r\n")
            fields = [line.decode().partition(": ") for line in lines]
            headers = {name.lower(): value for name, _, value in fields}
            body = await reader.readexactly(int(headers.get("content-length", 0)))
            self.requests.append(Received(first.decode(), headers, body))
            answer = self.answer
            writer.write(answer if isinstance(answer, bytes) else answer(self.requests))
            await writer.drain()
        with suppress(OSError):
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def open_raw_server(tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    """Run a server for the time of the `async with`."""
    raw = RawServer()
    server = await asyncio.start_server(raw.handle, "127.0.0.1", 0, ssl=tls)
    raw.port = server.sockets[0].getsockname()[1]
    async with server:
        yield raw
