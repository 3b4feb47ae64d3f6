"""A flood of harmless calls that do not end, from a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from tests.support.http2_peer import silent_peer
from tests.support.slow_client import SlowClient, slow_client

_QUERY: Final = "/dynamodb_processor.v1.QueryService/Query"
_CHECK: Final = "/grpc.health.v1.Health/Check"
_WATCH: Final = "/grpc.health.v1.Health/Watch"
_SIZE: Final = 1_000_000  # Bytes of a request, of which the last one is never sent.
_CALLS: Final = 200  # Calls of each kind on one connection.
_PATIENCE: Final = 120.0


@dataclass(frozen=True, slots=True)
class Flood:
    """The number of connections that send half of their requests, read no answers, or are idle."""

    half_sent: int
    silent: int
    idle: int


@asynccontextmanager
async def flood(address: str, size: Flood) -> AsyncIterator[str]:
    """Hold a flood for the time of the block, which gets a report once all has been sent."""
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(address, size, theirs), daemon=True)
    process.start()
    try:
        assert await asyncio.to_thread(ours.poll, _PATIENCE), "the flood was not sent"
        yield ours.recv()
    finally:
        ours.close()
        process.terminate()
        await asyncio.to_thread(process.join)


def _hold(address: str, size: Flood, report: Connection) -> None:
    asyncio.run(_send(address, size, report))


async def _send(address: str, size: Flood, report: Connection) -> None:
    async with AsyncExitStack() as stack:
        clients = await _half_sent(stack, address, size.half_sent)
        await _silent(stack, address, size.silent)
        for _ in range(size.idle):
            with suppress(OSError):
                await stack.enter_async_context(slow_client(address))
        sent = sum(client.sent for client in clients) / 1e6
        report.send(
            f"{size.half_sent * _CALLS} half-sent requests ({sent:.0f} MB taken), "
            f"{size.silent * 2 * _CALLS} answers and watches that nobody reads, "
            f"{size.idle} idle connections"
        )
        await asyncio.Event().wait()


async def _half_sent(stack: AsyncExitStack, address: str, number: int) -> list[SlowClient]:
    clients = []
    for index in range(number):
        client = await stack.enter_async_context(slow_client(address))
        clients.append(client)
        with suppress(OSError):
            for number in range(_CALLS):
                await client.begin((_QUERY, _CHECK)[index % 2], _SIZE)
                await _pause(number)
    return clients


async def _silent(stack: AsyncExitStack, address: str, number: int) -> None:
    for index in range(number):
        peer = await stack.enter_async_context(silent_peer(address))
        with suppress(OSError):
            for number in range(_CALLS):
                await peer.call((_WATCH, _CHECK)[index % 2], b"")
                await peer.call(_QUERY, b"")
                await _pause(number)


async def _pause(number: int) -> None:
    """Stay below the rate that a server can refuse: the tests are about its memory."""
    if number % 25 == 24:
        await asyncio.sleep(0.05)
