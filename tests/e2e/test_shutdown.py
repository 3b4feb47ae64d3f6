"""SIGTERM under load: calls under way finish, streams move elsewhere, the exit is clean."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from typing import Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from tests.support.channels import Caller, error_info, open_caller
from tests.support.complete_reads import by_stream
from tests.support.conditions import WireItem
from tests.support.event_service import CATALOG, ENVIRONMENT, KEYS, READER
from tests.support.events import LONG, LONG_ITEMS, sequence
from tests.support.lengths import at_length, timely
from tests.support.messages import from_item, spec
from tests.support.processes import ServerProcess

DRAIN_DELAY: Final = at_length(3.0, 0.3)  # Seconds.
# Seconds of it in which every call begun reaches the server, however slow its caller is.
ACCEPTING: Final = at_length(0.0, DRAIN_DELAY)
DRAIN_GRACE: Final = at_length(60.0, 6.0)
STALLED_GRACE: Final = 3.0
STREAMS: Final = 6
UNARY_CALLERS: Final = 12
QUERY: Final = spec("events", "user_id = :u", {"u": {"S": LONG}})
# Every item is read and none matches: a call that takes a while.
SLOW: Final = spec("events", "user_id = :u AND action = 'none'", {"u": {"S": LONG}})
BYPASS: Final = CachePolicy(mode=CacheMode.CACHE_MODE_BYPASS)
UNAVAILABLE: Final = grpc.StatusCode.UNAVAILABLE
# gRPC's core cancels a call that arrives between its stop and its notice of it (grpc#41785).
TOO_LATE: Final = {UNAVAILABLE, grpc.StatusCode.CANCELLED}


@dataclass(slots=True)
class _Reader:
    """Reads a stream until it ends, and keeps the items of whole messages."""

    caller: Caller
    items: list[WireItem] = field(default_factory=list)
    token: str = ""
    finished: bool = False
    error: grpc.aio.AioRpcError | None = None

    async def read(self, pages_read: asyncio.Semaphore) -> None:
        request = StreamQueryRequest(query=QUERY, page_size=10, cache=BYPASS)
        try:
            async for message in self.caller.stream(request):
                self.items.extend(map(from_item, message.items))
                self.token, self.finished = message.resume_token, message.last
                pages_read.release()
        except grpc.aio.AioRpcError as error:
            self.error = error


@dataclass(slots=True)
class _Calls:
    """Unary calls made one after another until the server is gone."""

    caller: Caller
    begun: list[float] = field(default_factory=list)
    failed: list[tuple[float, grpc.StatusCode]] = field(default_factory=list)
    done: int = 0

    async def make(self) -> None:
        while not self.failed:
            began = time.monotonic()
            self.begun.append(began)
            try:
                await self.caller.query(QueryRequest(query=SLOW, cache=BYPASS))
                self.done += 1
            except grpc.aio.AioRpcError as error:
                self.failed.append((began, error.code()))


@pytest.fixture
def instance(serve: Callable[..., ServerProcess], events: str) -> Callable[..., ServerProcess]:
    """A function that starts an instance of one fleet: same tables, keys and token keys.

    Its argument is the drain's grace, in seconds.
    """

    def start(grace: float = DRAIN_GRACE) -> ServerProcess:
        drain = {
            "DYNAMODB_PROCESSOR_DRAIN_DELAY": str(DRAIN_DELAY),
            "DYNAMODB_PROCESSOR_DRAIN_GRACE": str(grace),
        }
        return serve(CATALOG, KEYS, endpoint_url=events, env=ENVIRONMENT | drain)

    return start


@pytest.fixture
async def connections() -> AsyncIterator[AsyncExitStack]:
    """Connections that stay open until the end of a test."""
    async with AsyncExitStack() as stack:
        yield stack


async def test_sigterm_under_load(
    instance: Callable[..., ServerProcess],
    connections: AsyncExitStack,
    show_line: Callable[[str], None],
) -> None:
    """No unary call under way fails; every stream resumes elsewhere without loss; exit code 0."""
    first, second = instance(), instance()

    async def connected(server: ServerProcess) -> Caller:
        return await connections.enter_async_context(open_caller(server.address, READER.text))

    calls = [_Calls(await connected(first)) for _ in range(UNARY_CALLERS)]
    readers = [_Reader(await connected(first)) for _ in range(STREAMS)]
    pages_read = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as load:
        for reader in readers:
            load.create_task(reader.read(pages_read))
        for each in calls:
            load.create_task(each.make())
        for _ in range(5 * STREAMS):
            await pages_read.acquire()
        signalled = time.monotonic()
        first.signal(signal.SIGTERM)
        code = await asyncio.to_thread(first.wait)
        drained = time.monotonic() - signalled

    broken = [reader for reader in readers if reader.error is not None]
    for reader in broken:
        await _resume(reader, await connected(second))
    done, failed = sum(each.done for each in calls), [f for each in calls for f in each.failed]
    show_line(
        f"SIGTERM under load: exit code {code} after {drained:.1f} s; {done} unary calls finished, "
        f"{sum(began < signalled + ACCEPTING for began, _ in failed)} under way failed; "
        f"{len(broken)} of {STREAMS} streams broken off and resumed elsewhere"
    )
    assert code == 0
    assert timely(drained, DRAIN_DELAY + DRAIN_GRACE)
    # Calls begun while the server accepted them finished; later ones found no server.
    assert all(began >= signalled + ACCEPTING for began, _ in failed)
    assert {status for _, status in failed} <= TOO_LATE
    assert broken
    assert all(reader.finished or reader.error for reader in readers)


async def _resume(reader: _Reader, elsewhere: Caller) -> None:
    """Check the status of an interrupted stream, and that another instance returns its rest."""
    assert reader.error is not None
    assert reader.error.code() is UNAVAILABLE
    assert error_info(reader.error).reason == "DRAINING"
    assert len(reader.items) % 10 == 0
    rest = await by_stream(elsewhere, QUERY, 100, token=reader.token)
    assert sequence(reader.items + rest.items) == list(range(LONG_ITEMS))


async def test_stalled_stream_does_not_hold_up(
    instance: Callable[..., ServerProcess], connections: AsyncExitStack
) -> None:
    """A caller that stops reading costs the drain at most its grace, and loses no item."""
    first, second = instance(STALLED_GRACE), instance()
    caller = await connections.enter_async_context(open_caller(first.address, READER.text))
    request = StreamQueryRequest(query=QUERY, page_size=1_000)
    async with aclosing(caller.stream(request)) as messages:
        message = await anext(messages)
        signalled = time.monotonic()
        first.signal(signal.SIGTERM)
        code = await asyncio.to_thread(first.wait)
        drained = time.monotonic() - signalled
    assert code == 0
    assert timely(drained, DRAIN_DELAY + STALLED_GRACE + 3)
    elsewhere = await connections.enter_async_context(open_caller(second.address, READER.text))
    rest = await by_stream(elsewhere, QUERY, 1_000, token=message.resume_token)
    assert sequence([*map(from_item, message.items), *rest.items]) == list(range(LONG_ITEMS))
