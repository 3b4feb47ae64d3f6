"""A service whose keys, grants and catalog change while calls run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from dynamodb_processor.v1 import query_pb2
from tests.faults.stub import Stub
from tests.rpc.logged import Logged
from tests.support.running import (
    Key,
    Refusal,
    Service,
    eventually,
    make_key,
    numbers,
    query_spec,
    refusal_of,
    write_catalog,
)

OF_ULRIKE: Final = query_spec("events", "owner = 'ulrike'")
BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


def catalog_of(table: str, **more: Any) -> dict[str, Any]:
    """Return a catalog of the table, with these fields."""
    return {"tables": {"events": {"table": table, **more}}}


def with_grants(key: Key, *tables: Any, **more: Any) -> Key:
    """Return the same key with another entry in the file."""
    return Key(key.text, {**key.entry, "tables": list(tables), **more})


@dataclass
class RunningService:
    """A service, its DynamoDB, which answers no read while `stub.gate` is closed, and its log."""

    service: Service
    stub: Stub
    logged: Logged
    table: str
    reader: Key

    async def stream(self) -> Any:
        """Return a stream that has sent one message and waits for DynamoDB."""
        self.stub.script = self._close_gate
        stream = self.service.stream(OF_ULRIKE, page_size=10, cache=BYPASS)
        message: Any = await stream.read()
        assert numbers(message.items, "at") == list(range(1, 11))
        return stream

    def _close_gate(self, number: int, body: bytes) -> None:
        self.stub.gate.clear()

    async def reads(self, count: int) -> None:
        """Wait until DynamoDB has received so many reads."""
        await eventually(lambda: self.stub.reads >= count)

    async def force(self, *keys: Key) -> None:
        """Load these keys, and one that no caller has."""
        await self._reloaded(lambda: self.service.write_keys(*keys, make_key("nobody")))

    async def declare(self, **declaration: Any) -> None:
        """Load a catalog with another configuration of the table."""
        catalog = catalog_of(self.table, **declaration)
        await self._reloaded(lambda: write_catalog(self.service.catalog_file, catalog))

    async def _reloaded(self, change: Callable[[], None]) -> None:
        before = len(self.logged.of("config_file_reloaded"))
        change()
        await eventually(lambda: len(self.logged.of("config_file_reloaded")) > before)
        self.stub.script = lambda number, body: None
        self.stub.gate.set()


async def remaining(stream: Any) -> tuple[list[Any], Refusal | None]:
    """Return the messages that still come, and the failure of the stream, if any."""
    messages: list[Any] = []
    try:
        while (message := await stream.read()) is not grpc.aio.EOF:
            messages.append(message)
    except grpc.aio.AioRpcError as error:
        return messages, refusal_of(error)
    return messages, None
