"""A TCP proxy that treats a server's bytes as networks may."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum
from typing import Final

_CHUNK: Final = 65_536
_DRIP_SECONDS: Final = 0.02
DELAY_SECONDS: Final = 0.1


class Weather(Enum):
    """The treatment of the bytes that the server sends, and of new connections."""

    FAIR = "fair"
    DELAY = "delay"  # Each piece comes late.
    DRIP = "drip"  # Byte after byte, too slow to ever be of use, too steady to time out.
    RESET = "reset"
    TRUNCATE = "truncate"  # Half of the first piece, then an orderly end.
    BLACKHOLE = "blackhole"
    GARBAGE = "garbage"  # As many bytes, but other ones.
    REFUSE = "refuse"  # New connections are refused, and open ones are reset.


class Proxy:
    """Passes connections on to one server; the weather may change at any time, for all of them.

    `received` is how many bytes the server has sent.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = host, port
        self._weather = Weather.FAIR
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.port = 0
        self.received = 0

    async def set_weather(self, weather: Weather) -> None:
        """Change the treatment from now on."""
        self._weather = weather
        if weather is Weather.REFUSE:
            await self.close()
        elif self._listener is None:
            await self.listen()

    async def listen(self) -> None:
        """Take connections, always at the same port."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Take no more connections and reset those there are."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        broken = list(self._connections)
        for connection in broken:
            connection.cancel()
        if broken:
            await asyncio.wait(broken)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream = None
        try:
            from_server, upstream = await asyncio.open_connection(*self._upstream)
            async with asyncio.TaskGroup() as group:
                sending = group.create_task(_copy(reader, upstream))
                await self._pass_back(from_server, writer)
                sending.cancel()
        except* asyncio.CancelledError:
            _end_abruptly(writer)
        except* (OSError, RuntimeError):
            pass  # One end has gone; uvloop raises RuntimeError for a transport that is closed.
        finally:
            self._connections.discard(task)
            for end in (writer, upstream):
                if end is not None:
                    end.transport.abort()

    async def _pass_back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            self.received += len(data)
            match self._weather:
                case Weather.DELAY:
                    await asyncio.sleep(DELAY_SECONDS)
                case Weather.DRIP:
                    for byte in data:
                        writer.write(bytes((byte,)))
                        await writer.drain()
                        await asyncio.sleep(_DRIP_SECONDS)
                    continue
                case Weather.RESET:
                    _end_abruptly(writer)
                    return
                case Weather.TRUNCATE:
                    writer.write(data[: len(data) // 2])
                    with suppress(OSError):
                        await writer.drain()
                        writer.close()
                        await writer.wait_closed()
                    return
                case Weather.BLACKHOLE:
                    continue
                case Weather.GARBAGE:
                    data = bytes(byte ^ 0x5A for byte in data)
            writer.write(data)
            await writer.drain()


def _end_abruptly(writer: asyncio.StreamWriter) -> None:
    """Let a connection end with a reset when it is closed."""
    end: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):  # It has ended.
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    writer.write_eof()


@asynccontextmanager
async def open_proxy(host: str, port: int) -> AsyncIterator[Proxy]:
    """Run a proxy for the time of the `async with`."""
    proxy = Proxy(host, port)
    await proxy.listen()
    try:
        yield proxy
    finally:
        await proxy.close()
