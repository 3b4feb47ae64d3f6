"""Two servers that share a cache in Redis, and a Redis that goes wrong."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

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
from tests.support.messages import from_item, spec, to_value
from tests.support.processes import ServerProcess, served
from tests.support.redis_server import RedisServer
from tests.support.running import eventually

ADMIN: Final = ApiKey("admin", roles=("reader", "admin"))
CALLERS: Final = 1_000
# DynamoDB Local's reads are never old, so nothing has to wait before it is cached.
ARGUMENTS: Final = ("--cache-quarantine=0", "--cache-index-quarantine=0")
_HIT: Final = CacheStatus.CACHE_STATUS_HIT


@dataclass(frozen=True, slots=True)
class Replica:
    """One of the servers, and a caller of it."""

    server: ServerProcess
    caller: Caller
    cache: CacheServiceStub

    async def read(self, name: str, mode: CacheMode.ValueType | None = None) -> QueryResponse:
        """Ask for one partition."""
        query = spec("shared", "name = :n", {"n": {"S": name}})
        policy = CachePolicy(mode=mode) if mode is not None else None
        return await self.caller.query(QueryRequest(query=query, cache=policy), deadline=30.0)

    async def version(self, name: str) -> int:
        """Return what a partition's item says."""
        (item,) = (await self.read(name)).items
        return int(from_item(item)["version"]["N"])

    async def invalidate(self, name: str) -> None:
        """Say that a partition was written to."""
        key = Item(attributes={"name": to_value({"S": name})})
        request = InvalidateCacheRequest(table="shared", partition_key=key)
        with recording("InvalidateCache"):
            await self.cache.InvalidateCache(request, timeout=5.0, metadata=self.caller.metadata)

    async def has(self, name: str) -> bool:
        """Return whether a page can be had without a read of DynamoDB."""
        try:
            page = await self.read(name, CacheMode.CACHE_MODE_ONLY_IF_CACHED)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.FAILED_PRECONDITION:
                raise
            return False
        return page.cache.status == _HIT and not page.stats.backend_calls

    def hears(self) -> bool:
        """Return whether invalidations are heard."""
        return self.metric("shared_cache_fresh") == 1.0

    def metric(self, name: str, labels: str = "") -> float:
        """Return the sum of a metric's samples whose labels match a pattern."""
        return self.server.metric(name, labels)


@dataclass
class Pair:
    """Two replicas, what they share, and who writes past them."""

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
        """Wait until both hear invalidations."""
        for each in (self.first, self.second):
            await eventually(each.hears)


@pytest.fixture(scope="module")
def own_redis(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that may go wrong."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def servers(
    own_redis: RedisServer, dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Any, ServerProcess, ServerProcess]]:
    """Two servers of one table: its name, a client of DynamoDB, and they."""
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
    """Both servers with callers, hearing invalidations."""
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


async def test_what_one_has_read_the_other_need_not_read(pair: Pair) -> None:
    """The page says when it was read, and cost nothing."""
    version = await pair.write("shared-page")
    miss = await pair.first.read("shared-page")
    assert miss.stats.backend_calls == 1
    assert await _eventually(lambda: pair.second.has("shared-page"))
    hit = await pair.second.read("shared-page")
    assert hit.cache.status == _HIT
    assert hit.items == miss.items
    assert hit.read_time == miss.read_time
    assert await pair.second.version("shared-page") == version
    with redis.Redis.from_url(pair.redis.url) as client:
        for key in client.scan_iter():
            assert b"shared-page" not in key
            assert b"shared-page" not in client.dump(key)


async def test_what_was_invalidated_at_one_is_stale_at_none(pair: Pair) -> None:
    """As soon as the invalidation has been acknowledged."""
    stale = hits = 0
    for _ in range(8):
        version = await pair.write("moved")
        await pair.first.invalidate("moved")
        stale += await pair.second.version("moved") != version
        stale += await pair.first.version("moved") != version
        hits += await _eventually(lambda: pair.second.has("moved"))
    assert (stale, hits) == (0, 8)


async def test_many_who_miss_together_make_one_read(
    pair: Pair, report: Callable[[str, str, str], None]
) -> None:
    """Over two servers, and whoever leaves disturbs nobody."""
    await pair.write("herd")
    replicas = (pair.first, pair.second)
    before = sum(each.metric("backend_calls_total", ".*") for each in replicas)
    tasks = [asyncio.create_task(replicas[n % 2].read("herd")) for n in range(CALLERS)]
    await asyncio.sleep(0.05)
    for task in tasks[::7]:
        task.cancel()
    pages = await asyncio.gather(*tasks, return_exceptions=True)
    calls = sum(each.metric("backend_calls_total", ".*") for each in replicas) - before
    stayed = [page for n, page in enumerate(pages) if n % 7]
    wrong = [page for page in stayed if not (isinstance(page, QueryResponse) and page.items)]
    report(
        f"stampede of {CALLERS:,} over two replicas and Redis",
        "at most 2 backend calls; who is cancelled disturbs nobody",
        f"{calls:g} backend calls, {len(stayed) - len(wrong)} right, {len(wrong)} wrong, "
        f"{CALLERS - len(stayed)} cancelled",
    )
    assert not wrong, wrong[:3]
    assert 1 <= calls <= 2


@pytest.mark.parametrize("fault", ["killed", "hung", "flushed", "garbage", "read-only"])
async def test_whatever_becomes_of_redis_answers_are_right_and_quick(
    pair: Pair, fault: str, show_line: Callable[[str], None]
) -> None:
    """Invalidations are refused where they cannot be told; afterwards pages are shared again."""
    name = f"during-{fault}"
    await pair.write(name)
    assert await _shared(pair, name)
    slowest, refused, stale = 0.0, 0, 0
    _break(pair.redis, fault)
    until = time.monotonic() + 2.0
    while time.monotonic() < until:
        version = await pair.write(name)
        try:
            await pair.first.invalidate(name)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            refused += 1
            # Nothing was promised; but where nothing can be heard, nothing is trusted by now.
            await asyncio.sleep(0.6)
        for each in (pair.second, pair.first):
            began = time.monotonic()
            right = await each.version(name) == version
            stale += not right and fault != "read-only"  # in which all goes on as it was
            slowest = max(slowest, time.monotonic() - began)
    show_line(f"Redis {fault}: {refused} refused, {stale} stale, slowest read {slowest:.3f} s")
    assert stale == 0
    assert slowest < 1.0
    assert bool(refused) == (fault in {"killed", "hung", "read-only"})
    _mend(pair.redis, fault)
    await pair.fresh()
    version = await pair.write(name)
    await pair.second.invalidate(name)
    assert await pair.first.version(name) == version
    assert await _shared(pair, name)
    assert await pair.second.version(name) == version


def _break(server: RedisServer, fault: str) -> None:
    match fault:
        case "killed":
            server.kill()
        case "hung":
            server.pause()
        case "flushed":
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
        case "read-only":
            with redis.Redis.from_url(server.url) as client:
                client.replicaof("127.0.0.1", 1)
        case _:
            with redis.Redis.from_url(server.url) as client:
                for number, key in enumerate(client.keys()):
                    client.delete(key)
                    if number % 2:
                        client.set(key, b"garbage")
                    else:
                        client.rpush(key, b"garbage")


def _mend(server: RedisServer, fault: str) -> None:
    match fault:
        case "killed":
            server.start()
        case "hung":
            server.resume()
        case "read-only":
            with redis.Redis.from_url(server.url) as client:
                client.replicaof("no", "one")


async def _shared(pair: Pair, name: str) -> bool:
    """Return whether what one reads comes to be had at the other; a breaker may have to close."""

    async def had() -> bool:
        await pair.first.read(name, CacheMode.CACHE_MODE_REFRESH)
        return await pair.second.has(name)

    return await _eventually(had)


async def _eventually(check: Callable[[], Awaitable[bool]]) -> bool:
    until = time.monotonic() + 10.0
    while time.monotonic() < until:
        if await check():
            return True
        await asyncio.sleep(0.02)
    return False
