"""An HTTP proxy that tunnels every connection to one port, wherever its client wants to go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class Tunnel:
    """Connects its clients with `target`; `heads` are those of the requests that it got."""

    target: int
    port: int = 0
    heads: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        answers, requests = await asyncio.open_connection("127.0.0.1", self.target)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_copy(reader, requests), _copy(answers, writer))


@asynccontextmanager
async def open_tunnel(target: int) -> AsyncIterator[Tunnel]:
    """Run a proxy for the time of the `async with`."""
    tunnel = Tunnel(target)
    server = await asyncio.start_server(tunnel.handle, "127.0.0.1", 0)
    tunnel.port = server.sockets[0].getsockname()[1]
    async with server:
        yield tunnel


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.close()
        await writer.wait_closed()
