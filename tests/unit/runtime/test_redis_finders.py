"""Searches for the primary of Redis that end, or are renewed, while callers rely on its address."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.crc import key_slot
from redis.exceptions import ConnectionError as Unreachable
from redis.exceptions import MovedError

from dynamodb_processor_server.runtime.redis import RedisClient
from dynamodb_processor_server.runtime.redis_finders import ClusterFinder
from dynamodb_processor_server.runtime.redis_url import Address, parse_redis_url
from tests.support.warped_time import warped

_KEY = "{fleet}:"
_PRIMARY, _REPLICA, _LATER = ("one", 6379), ("two", 6379), ("three", 6379)


class _Cluster:
    """The nodes of a cluster of one shard; `shard` has the primary first."""

    def __init__(self) -> None:
        self.shard: tuple[Address, ...] = (_PRIMARY, _REPLICA)
        self.promoted: set[Address] = set()
        self.silent: set[Address] = set()
        self.speaks = asyncio.Event()
        self.asked: list[Address] = []
        self.connected: set[Address] = set()

    def node(self, address: Address) -> _Node:
        """Return a client of a node."""
        self.connected.add(address)
        return _Node(self, address)


class _Node:
    """A client of one node."""

    def __init__(self, cluster: _Cluster, address: Address) -> None:
        self._cluster = cluster
        self._address = address
        self.connection_pool = self

    async def aclose(self) -> None:
        """Do nothing, as a client of a pool that others may use."""

    async def disconnect(self) -> None:
        """Close the connections."""
        self._cluster.connected.remove(self._address)

    async def execute_command(self, *_command: str) -> list[Any]:
        """Answer CLUSTER SLOTS."""
        if self._address in self._cluster.silent:
            await self._cluster.speaks.wait()
        shard = self._cluster.shard
        if self._address in self._cluster.promoted:
            shard = (self._address,)
        return [[0, 16_383, *([host.encode(), port, b"id"] for host, port in shard)]]

    async def get(self, key: str) -> None:
        """Answer GET as a replica does, unless it has become the primary."""
        self._cluster.asked.append(self._address)
        if self._address not in self._cluster.promoted:
            raise MovedError(f"{key_slot(key.encode())} one:6379")


class _Finder(ClusterFinder):
    """A finder that asks nodes in memory."""

    def __init__(self, cluster: _Cluster) -> None:
        super().__init__(parse_redis_url("redis+cluster://one"), _KEY)
        self._cluster = cluster

    def _open(self, server: Address) -> Any:
        return self._cluster.node(server)


async def test_a_primary_is_denied_while_another_search_is_under_way() -> None:
    """Searches are frequent in a failover, which is when the answer matters."""
    cluster = _Cluster()
    finder = _Finder(cluster)
    assert await finder.find() == _PRIMARY
    cluster.promoted.add(_REPLICA)
    cluster.silent.add(_PRIMARY)
    finder.doubt()
    search = asyncio.create_task(finder.find())
    await asyncio.sleep(0)
    with pytest.raises(Unreachable):
        await finder.confirm(_PRIMARY, 1.0)
    assert await search == _REPLICA
    await finder.close()


@warped
async def test_nodes_that_joined_later_can_deny_a_primary() -> None:
    """A replica is often replaced, and its successor takes over."""
    cluster = _Cluster()
    finder = _Finder(cluster)
    await finder.find()
    cluster.shard = (_PRIMARY, _LATER)
    await finder.confirm(_PRIMARY, 1.0)
    assert cluster.asked == [_REPLICA]
    for _ in range(2):
        await asyncio.sleep(11.0)
        await finder.confirm(_PRIMARY, 1.0)
    await asyncio.sleep(1.0)
    assert cluster.connected == {_PRIMARY, _LATER}, "earlier nodes have no connections"
    cluster.promoted.add(_LATER)
    with pytest.raises(Unreachable, match="has become the primary"):
        await finder.confirm(_PRIMARY, 1.0)
    await finder.close()
    assert not cluster.connected


@pytest.mark.parametrize("confirms", [False, True])
async def test_a_finder_that_is_closed_fails_its_callers_and_cancels_none(confirms: bool) -> None:
    """They may be tasks that run as long as the server, such as the poll of invalidations."""
    cluster = _Cluster()
    finder = _Finder(cluster)
    await finder.find()
    finder.doubt()
    cluster.silent |= {_PRIMARY, _REPLICA}
    cluster.promoted.add(_REPLICA)
    pending = finder.confirm(_PRIMARY, 1.0) if confirms else finder.find()
    caller = asyncio.create_task(pending)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await finder.close()
    with pytest.raises(Unreachable, match="connections were closed"):
        await caller
    assert not caller.cancelled()


async def test_a_client_keeps_a_finder_open_while_it_is_asked() -> None:
    """The URL may be replaced during an invalidation, which asks before and after its command."""
    cluster = _Cluster()
    client = RedisClient("redis+cluster://one", 1.0, 1, key=_KEY)
    client.script("").registered_client.connection_pool.finder = _Finder(cluster)
    cluster.silent.add(_PRIMARY)
    pending = asyncio.create_task(client.primary())
    await asyncio.sleep(0)
    client.use("redis+cluster://two")
    await asyncio.sleep(0)
    cluster.speaks.set()
    assert await pending == _PRIMARY
    await client.close()
