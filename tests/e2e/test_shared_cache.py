"""Two servers that share a cache in Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc
import pytest
import redis

from dynamodb_processor.v1.cache_service_pb2 import InvalidateCacheRequest
from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceStub
from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy, CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from dynamodb_processor.v1.value_pb2 import Item
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller, recording
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import ENVIRONMENT
from tests.support.lengths import PATIENCE
from tests.support.messages import from_item, spec, to_value
from tests.support.processes import ServerProcess, served
from tests.support.redis_server import RedisServer
from tests.support.running import eventually

if TYPE_CHECKING:
    from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceAsyncStub

ADMIN: Final = ApiKey("admin", roles=("reader", "admin"))
# Reads of DynamoDB Local are never stale, so pages are cached without a wait.
ARGUMENTS: Final = (
    "--cache-quarantine=0", "--cache-index-quarantine=0",
    "--redis-timeout=1",  # The tests' machine may be slow.
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the servers, and a caller of it."""

    server: ServerProcess
    caller: Caller
    cache: CacheServiceAsyncStub

    async def read(self, name: str, mode: CacheMode.ValueType | None = None) -> QueryResponse:
        """Ask for one partition."""
        query = spec("shared", "name = :n", {"n": {"S": name}})
        policy = CachePolicy(mode=mode) if mode is not None else None
        return await self.caller.query(QueryRequest(query=query, cache=policy), deadline=PATIENCE)

    async def version(self, name: str) -> int:
        """Return the version of a partition's item."""
        (item,) = (await self.read(name)).items
        return int(from_item(item)["version"]["N"])

    async def invalidate(self, name: str) -> None:
        """Invalidate a partition."""
        key = Item(attributes={"name": to_value({"S": name})})
        request = InvalidateCacheRequest(table="shared", partition_key=key)
        with recording("InvalidateCache"):
            await self.cache.InvalidateCache(
                request, timeout=PATIENCE, metadata=self.caller.metadata
            )

    async def found(self, name: str) -> QueryResponse | None:
        """Return a page if it can be had without a read of DynamoDB."""
        try:
            page = await self.read(name, CacheMode.CACHE_MODE_ONLY_IF_CACHED)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return None
        assert not page.stats.backend_calls
        return page

    async def has(self, name: str) -> bool:
        """Return whether a page can be had without a read of DynamoDB."""
        return await self.found(name) is not None

    def receives_invalidations(self) -> bool:
        """Return whether the replica receives invalidations."""
        return self.metric("shared_cache_fresh") == 1.0

    def metric(self, name: str, labels: str = "") -> float:
        """Return the sum of a metric's samples whose labels match a pattern."""
        return self.server.metric(name, labels)


@dataclass
class Pair:
    """Two replicas, their shared Redis, and a writer that bypasses them."""

    first: Replica
    second: Replica
    redis: RedisServer
    client: Any
    table: str
    version: int = 0

    async def write(self, name: str) -> int:
        """Write an item's next version and return it."""
        self.version += 1
        item = {"name": {"S": name}, "version": {"N": str(self.version)}}
        await asyncio.to_thread(put_items, self.client, self.table, [item])
        return self.version

    async def fresh(self) -> None:
        """Wait until both receive invalidations."""
        for each in (self.first, self.second):
            await eventually(each.receives_invalidations)


@pytest.fixture(scope="module")
def servers(
    own_redis: RedisServer, dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Any, ServerProcess, ServerProcess]]:
    """Two servers of one table: its name, a client of DynamoDB, and the servers."""
    table = f"e2e-shared-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(table, "name", None, (), {"name": "S"}))
    env = {**ENVIRONMENT, "DYNAMODB_PROCESSOR_REDIS_URL": own_redis.url}
    catalog = {"tables": {"shared": {"table": table, "cache_ttl": 300}}}

    def start() -> Any:
        directory = tmp_path_factory.mktemp("replica")
        keys = keys_file(ADMIN)
        return served(
            catalog, keys, directory, endpoint_url=dynamodb_local, args=ARGUMENTS, env=env
        )

    with start() as first, start() as second:
        yield table, client, first, second
    client.close()


@pytest.fixture
async def pair(
    own_redis: RedisServer, servers: tuple[str, Any, ServerProcess, ServerProcess]
) -> AsyncIterator[Pair]:
    """Both servers with callers, up to date with invalidations."""
    table, client, first, second = servers
    async with (
        open_caller(first.address, ADMIN.text) as one,
        open_caller(second.address, ADMIN.text) as other,
    ):
        pair = Pair(
            Replica(first, one, CacheServiceStub(one.channel)),
            Replica(second, other, CacheServiceStub(other.channel)),
            own_redis,
            client,
            table,
        )
        await pair.fresh()
        yield pair


async def test_a_page_read_by_one_serves_the_other(pair: Pair) -> None:
    """The cached page has the time of its read, and costs nothing."""
    version = await pair.write("shared-page")
    miss = await pair.first.read("shared-page")
    assert miss.stats.backend_calls == 1
    hit = await eventually(lambda: pair.second.found("shared-page"))
    assert hit.cache.status == CacheStatus.CACHE_STATUS_SHARED_HIT
    again = await eventually(lambda: pair.second.found("shared-page"))
    assert again.cache.status == CacheStatus.CACHE_STATUS_HIT
    assert hit.items == miss.items
    assert hit.read_time == miss.read_time
    assert await pair.second.version("shared-page") == version
    with redis.Redis.from_url(pair.redis.url) as client:
        for key in client.scan_iter():
            assert b"shared-page" not in key
            assert b"shared-page" not in client.dump(key)


async def test_keys_live_as_long_as_they_are_needed(pair: Pair) -> None:
    """A generation lives a minute longer than the page or the quarantine; a look-up leaves none."""
    await pair.write("lives")
    with redis.Redis.from_url(pair.redis.url) as client:

        def lives() -> list[int]:
            """Return for how many seconds the new keys live."""
            return [client.ttl(key) for key in set(client.scan_iter()) - before]

        before = set(client.scan_iter())
        assert not await pair.first.has("lives")
        assert lives() == []
        await pair.first.read("lives")
        assert await eventually(lambda: pair.second.has("lives"))
        page, *_, generation = sorted(lives())
        assert 200 <= page <= 300
        assert 300 < generation <= 360
        await pair.first.invalidate("lives")
        assert 0 < min(lives()) <= 60


async def test_an_invalidation_at_one_reaches_both(pair: Pair) -> None:
    """The page is stale at both as soon as the invalidation has been acknowledged."""
    stale = hits = 0
    for _ in range(8):
        version = await pair.write("moved")
        await pair.first.invalidate("moved")
        stale += await pair.second.version("moved") != version
        stale += await pair.first.version("moved") != version
        hits += await eventually(lambda: pair.second.has("moved"))
    assert (stale, hits) == (0, 8)
