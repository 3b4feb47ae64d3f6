"""Connections to the primary that a finder names, and what makes them look for another one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ClusterDownError

from dynamodb_processor_server.runtime.redis_finders import NO_NOTIFICATIONS, ClusterFinder
from dynamodb_processor_server.runtime.redis_primary import PrimaryPool
from dynamodb_processor_server.runtime.redis_url import Address, parse_redis_url


class _Named(ClusterFinder):
    """Finds the address that a test sets, without asking."""

    def __init__(self, named: Address) -> None:
        super().__init__(parse_redis_url("redis+cluster://nowhere"), "key")
        self.named = named

    async def _find(self) -> Address:
        self.address = self.named
        self._sure_until = asyncio.get_running_loop().time() + 3_600.0
        return self.address


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[Address]:
    """Run a server that has one answer for every command."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1_000):
            writer.write(answer)
            await writer.drain()
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        host, port = listening.sockets[0].getsockname()
        yield host, port


async def test_a_node_of_a_cluster_that_is_down_is_not_used_again() -> None:
    """It may have started just now, and not know yet that it is not the primary any more."""
    async with server(b"-CLUSTERDOWN The cluster is down\r\n") as down, server(b"+PONG\r\n") as up:
        finder = _Named(down)
        options: dict[str, Any] = {"protocol": 2, "driver_info": None}
        pool = PrimaryPool(finder, maint_notifications_config=NO_NOTIFICATIONS, **options)
        client = Redis(connection_pool=pool)
        with pytest.raises(ClusterDownError):
            await client.ping()
        finder.named = up
        await finder.find()
        assert await client.ping()
        await client.aclose()
        await pool.disconnect()
