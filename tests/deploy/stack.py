"""A server process with Redis, a stream and Prometheus, under a load of every kind of call."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.cache_service_pb2 import InvalidateCacheRequest
from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceStub
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    ExplainQueryRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.access import ApiKey, keys_file, token_keys
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.processes import ServerProcess, serving
from tests.support.prometheus import Prometheus, run_prometheus

_TABLE: Final = "deploy-events"
_SCHEMA: Final = Schema(
    _TABLE,
    "user_id",
    "seq",
    (Index("by_kind", False, ("kind",), ("seq",)),),
    {"user_id": "S", "seq": "N", "kind": "S"},
)
_USERS: Final = tuple(f"u-{number}" for number in range(40))
_EVENTS: Final = 30  # of each user
_READER: Final = ApiKey("reports", roles=("reader", "admin"))
_BATCHES: Final = ApiKey("batches")
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)
_TIMEOUT: Final = 5.0  # seconds of a call
# Both principals have limits, and `batches` soon reaches its own.
_CLASSES: Final = {
    "default": {"calls_per_second": 1_000, "read_units_per_minute": 100_000},
    "small": {"calls_per_second": 2, "read_units_per_minute": 600},
}


def _event(user: str, seq: int) -> dict[str, Any]:
    kind = f"k-{seq % 3}"
    return {
        "user_id": {"S": user},
        "seq": {"N": str(seq)},
        "kind": {"S": kind},
        "note": {"S": "n" * 300},
    }


class Stack:
    """A running server, the Prometheus that scrapes it, and calls of every kind."""

    def __init__(
        self,
        server: ServerProcess,
        channel: grpc.aio.Channel,
        prometheus: Prometheus,
        dynamodb: Any,
    ) -> None:
        self.prometheus = prometheus
        self.server = server
        self._queries = QueryServiceStub(channel)
        self._cache = CacheServiceStub(channel)
        self._dynamodb = dynamodb
        self._random = random.Random(7)

    async def load(self, seconds: float, calls_per_second: float) -> None:
        """Make calls for so many seconds; refusals are part of the load."""
        calls: tuple[tuple[Callable[[], Awaitable[Any]], int], ...] = (
            (self._page, 60), (self._uncached, 4), (self._by_index, 4), (self._count, 4),
            (self._get, 6), (self._stream, 3), (self._explain, 2), (self._batches, 10),
            (self._bad_token, 2), (self._without_key, 2), (self._scan, 2), (self._invalidate, 1),
            (self._write, 3),
        )  # fmt: skip
        kinds, weights = zip(*calls, strict=True)
        until = time.monotonic() + seconds
        running: set[asyncio.Task[None]] = set()
        while time.monotonic() < until:
            (kind,) = self._random.choices(kinds, weights)
            task = asyncio.create_task(_ended(kind()))
            running.add(task)
            task.add_done_callback(running.discard)
            await asyncio.sleep(self._random.expovariate(calls_per_second))
        if running:
            await asyncio.wait(running)

    async def _page(self) -> Any:
        # Few users are read often, so that most reads are hits.
        user = _USERS[min(int(self._random.expovariate(0.3)), len(_USERS) - 1)]
        return await self._ask(QueryRequest(query=_of(user), page_size=20))

    async def _uncached(self) -> Any:
        return await self._ask(QueryRequest(query=_of(self._user()), cache=_BYPASS))

    async def _by_index(self) -> Any:
        kind = AttributeValue(s=f"k-{self._random.randrange(3)}")
        first = AttributeValue(n=str(self._random.randrange(_EVENTS)))
        query = query_pb2.QuerySpec(
            table="events",
            expression="kind = :kind AND seq >= :first AND contains(note, 'n')",
            parameters={"kind": kind, "first": first},
        )
        return await self._ask(QueryRequest(query=query, page_size=10))

    async def _count(self) -> Any:
        return await self._ask(CountItemsRequest(query=_of(self._user())))

    async def _get(self) -> Any:
        keys = [
            Item(
                attributes={
                    "user_id": AttributeValue(s=self._user()), "seq": AttributeValue(n=str(seq)),
                }
            )
            for seq in range(5)
        ]  # fmt: skip
        return await self._ask(BatchGetItemsRequest(table="events", keys=keys))

    async def _stream(self) -> Any:
        request = StreamQueryRequest(query=_of(self._user()), page_size=10)
        call: Any = self._queries.StreamQuery(request, metadata=_key(_READER), timeout=_TIMEOUT)
        return [message async for message in call]

    async def _explain(self) -> Any:
        return await self._ask(ExplainQueryRequest(query=_of(self._user())))

    async def _batches(self) -> Any:
        request = QueryRequest(query=_of(self._user()), cache=_BYPASS)
        return await self._ask(request, _key(_BATCHES))

    async def _bad_token(self) -> Any:
        return await self._ask(QueryRequest(query=_of(self._user()), page_token="not-a-token"))

    async def _without_key(self) -> Any:
        return await self._ask(QueryRequest(query=_of(self._user())), ())

    async def _scan(self) -> Any:
        query = query_pb2.QuerySpec(table="events", expression="note = 'n'")
        return await self._ask(QueryRequest(query=query))

    async def _invalidate(self) -> Any:
        request = InvalidateCacheRequest(table="events")
        request.partition_key.attributes["user_id"].s = self._user()
        return await self._cache.InvalidateCache(request, metadata=_key(_READER), timeout=_TIMEOUT)

    async def _write(self) -> Any:
        item = _event(self._user(), self._random.randrange(_EVENTS))
        # The stream has no record of a write that changes nothing.
        item["written"] = {"N": str(time.time_ns())}
        return await asyncio.to_thread(self._dynamodb.put_item, TableName=_TABLE, Item=item)

    async def _ask(self, request: Any, metadata: Any = None) -> Any:
        method = type(request).__name__.removesuffix("Request")
        call = getattr(self._queries, method)
        given = _key(_READER) if metadata is None else metadata
        return await call(request, metadata=given, timeout=_TIMEOUT)

    def _user(self) -> str:
        return self._random.choice(_USERS)


async def _ended(call: Awaitable[Any]) -> None:
    """Await a call, which may be refused."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNKNOWN:
            raise


def _of(user: str) -> query_pb2.QuerySpec:
    value = AttributeValue(s=user)
    return query_pb2.QuerySpec(
        table="events", expression="user_id = :user", parameters={"user": value}
    )


def _key(key: ApiKey) -> tuple[tuple[str, str], ...]:
    return (("x-api-key", key.text),)


@asynccontextmanager
async def open_stack(
    directory: Path, dynamodb_local: str, redis_url: str, *, interval: float = 1.0
) -> AsyncIterator[Stack]:
    """Run a server and a Prometheus that scrapes it, until the block ends."""
    client = open_client(dynamodb_local)
    create_table(client, _SCHEMA, stream_view="NEW_AND_OLD_IMAGES")
    put_items(client, _TABLE, (_event(user, seq) for user in _USERS for seq in range(_EVENTS)))
    catalog = {"tables": {"events": {"table": _TABLE, "invalidate_from_stream": True}}}
    keys = keys_file(_READER, _BATCHES)
    keys["keys"][1]["rate_class"] = "small"
    environment = {
        "DYNAMODB_PROCESSOR_TOKEN_KEYS": token_keys("first"),
        "DYNAMODB_PROCESSOR_REDIS_URL": redis_url,
        "DYNAMODB_PROCESSOR_DRAIN_DELAY": "0",
        "DYNAMODB_PROCESSOR_RATE_CLASSES": json.dumps(_CLASSES),
        # Small enough for evictions; a quarantine would turn reads after writes into misses.
        "DYNAMODB_PROCESSOR_CACHE_MAX_BYTES": str(16 * 2**20),
    }
    try:
        async with (
            serving(
                catalog, keys, directory, endpoint_url=dynamodb_local, env=environment
            ) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            with run_prometheus(directory, server.metrics_address, interval=interval) as prometheus:
                await asyncio.to_thread(prometheus.wait_until, "up == 1")
                yield Stack(server, channel, prometheus, client)
    finally:
        client.close()
