"""The server that follows a table's stream dies; another one takes over and misses no write."""

from __future__ import annotations

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import pytest
import redis

from dynamodb_processor.v1.query_pb2 import CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import ENVIRONMENT
from tests.support.lengths import PATIENCE
from tests.support.messages import from_item, spec
from tests.support.processes import ServerProcess, served
from tests.support.redis_server import RedisServer
from tests.support.running import eventually
from tests.support.scraping import scraped

READER: Final = ApiKey("reader")
NAMES: Final = tuple(f"n-{number}" for number in range(20))
# Reads of DynamoDB Local are never stale, so pages are cached without a wait.
ARGUMENTS: Final = (
    "--stream-poll-interval=0.2", "--cache-quarantine=0", "--cache-index-quarantine=0",
    "--redis-timeout=1", "--stream-max-lag=600",  # The tests' machine may be slow.
)  # fmt: skip


class Fleet:
    """Two servers of one table, and a writer that bypasses them."""

    def __init__(self, redis_url: str, endpoint_url: str, directory: Any) -> None:
        self.prefix = f"{uuid.uuid4().hex}:"
        self.servers: list[ServerProcess] = []
        self.callers: list[Caller] = []
        self.redis_url = redis_url
        self._endpoint_url = endpoint_url
        self._directory = directory
        self._client = open_client(endpoint_url)
        self._table = f"e2e-elected-{uuid.uuid4().hex[:8]}"
        self._version = 0
        schema = Schema(self._table, "name", None, (), {"name": "S"})
        create_table(self._client, schema, "NEW_AND_OLD_IMAGES")

    async def start(self, stack: AsyncExitStack) -> None:
        """Start another server, for as long as the stack is open."""
        env = {**ENVIRONMENT, "DYNAMODB_PROCESSOR_REDIS_URL": self.redis_url}
        config = {"table": self._table, "cache_ttl": 300, "invalidate_from_stream": True}
        server = served(
            {"tables": {"elected": config}},
            keys_file(READER),
            self._directory.mktemp("replica"),
            endpoint_url=self._endpoint_url,
            args=(*ARGUMENTS, f"--redis-prefix={self.prefix}"),
            env=env,
        )
        self.servers.append(stack.enter_context(server))
        caller = open_caller(self.servers[-1].address, READER.text)
        self.callers.append(await stack.enter_async_context(caller))

    def close(self) -> None:
        """Close the writer's clients."""
        self._client.close()

    async def write(self) -> int:
        """Write the next version of every item and return it."""
        self._version += 1
        version = {"N": str(self._version)}
        items = [{"name": {"S": name}, "version": version} for name in NAMES]
        await asyncio.to_thread(put_items, self._client, self._table, items)
        return self._version

    async def read(self, replica: int, name: str) -> QueryResponse:
        """Ask a server for one item."""
        query = spec("elected", "name = :n", {"n": {"S": name}})
        return await self.callers[replica].query(QueryRequest(query=query), deadline=PATIENCE)

    async def versions(self, replica: int) -> set[int]:
        """Return the versions that a server shows."""
        pages = [await self.read(replica, name) for name in NAMES]
        return {int(from_item(page.items[0])["version"]["N"]) for page in pages}

    async def hits(self, replica: int) -> int:
        """Return how many items a server has cached."""
        pages = [await self.read(replica, name) for name in NAMES]
        return sum(page.cache.status == CacheStatus.CACHE_STATUS_HIT for page in pages)

    def invalidations(self, replica: int) -> dict[str, float]:
        """Return a server's invalidations of the table by reason; none without a consumer."""
        lines = scraped(self.servers[replica].metrics_address).splitlines()
        name = "dynamodb_processor_stream_table_invalidations_total{"
        found = [line for line in lines if line.startswith(name)]
        return {line.split('reason="')[1].split('"')[0]: float(line.split()[-1]) for line in found}

    def follows(self, replica: int) -> bool:
        """Return whether a server follows the table."""
        text = scraped(self.servers[replica].metrics_address)
        return "dynamodb_processor_stream_behind_seconds{" in text

    def has_checkpoint(self) -> bool:
        """Return whether a checkpoint names a record of each shard.

        Without a record only the time finds the place again, which DynamoDB Local does not do.
        """
        with redis.Redis.from_url(self.redis_url) as client:
            keys = list(client.scan_iter(f"{self.prefix}checkpoint:*"))
            found = client.get(keys[0]) if keys else None
        return isinstance(found, bytes) and None not in json.loads(found)["places"].values()

    async def until(self, what: Callable[[], Any]) -> float:
        """Wait until a condition holds and return the seconds it took."""
        began = time.monotonic()
        await eventually(what)
        return time.monotonic() - began


@pytest.fixture
async def fleet(
    own_redis: RedisServer, dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Fleet]:
    """Two servers; the first follows, and has stored a checkpoint."""
    fleet = Fleet(own_redis.url, dynamodb_local, tmp_path_factory)
    async with AsyncExitStack() as stack:
        stack.callback(fleet.close)

        async def begun() -> bool:
            return fleet.invalidations(0).get("started", 0) == 1

        async def cached() -> bool:
            return await fleet.hits(1) == len(NAMES)

        await fleet.start(stack)
        await fleet.until(begun)
        await fleet.start(stack)
        version = await fleet.write()

        async def checked() -> bool:
            return fleet.has_checkpoint() and await fleet.versions(1) == {version}

        await fleet.until(checked)
        await fleet.until(cached)
        assert (fleet.follows(0), fleet.follows(1)) == (True, False)
        yield fleet


@pytest.mark.parametrize("kept", [True, False], ids=["checkpoint", "checkpoint-lost"])
async def test_when_the_following_server_dies_another_takes_over(
    fleet: Fleet, kept: bool, show_line: Callable[[str], None]
) -> None:
    """Writes before the takeover are invalidated; the whole table only if that is necessary."""
    fleet.servers[0].signal(signal.SIGKILL)
    fleet.servers[0].wait()
    version = await fleet.write()
    if not kept:
        with redis.Redis.from_url(fleet.redis_url) as client:
            keys = list(client.scan_iter(f"{fleet.prefix}checkpoint:*"))
            assert len(keys) == 1
            client.delete(*keys)

    async def fresh() -> bool:
        return await fleet.versions(1) == {version}

    took = await fleet.until(fresh)
    show_line(f"follower killed: the next one had told of all writes after {took:.1f} s")
    assert fleet.follows(1)
    assert ("taken_over" in fleet.invalidations(1)) is not kept
    assert ("started" in fleet.invalidations(1)) <= (not kept)
    version = await fleet.write()
    await fleet.until(fresh)
