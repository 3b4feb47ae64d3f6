"""What is asked of Redis after its connections have broken, or been left with an answer unread."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from dynamodb_processor_server.redis_client import close_redis, open_redis
from tests.faults.proxy import Proxy, Weather, open_proxy
from tests.support.redis_server import RedisServer


async def _kill(proxy: Proxy, server: RedisServer) -> None:
    """Let the server close every connection."""
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def _reset(proxy: Proxy, server: RedisServer) -> None:
    """Let the network break every connection."""
    await proxy.set_weather(Weather.REFUSE)
    await proxy.set_weather(Weather.FAIR)


@pytest.mark.parametrize("break_all", [_kill, _reset])
async def test_connections_that_broke_while_nobody_used_them_are_not_noticed(
    break_all: Callable[[Proxy, RedisServer], Awaitable[None]],
    redis_binary: str,
    tmp_path: Path,
) -> None:
    """However many there are."""
    server = RedisServer(redis_binary, tmp_path)
    server.start()
    async with open_proxy("127.0.0.1", server.port) as proxy:
        client = open_redis(f"redis://127.0.0.1:{proxy.port}", 5.0, 8)
        for _ in range(3):
            answers = await asyncio.gather(*(client.ping() for _ in range(8)))
            assert answers == [True] * 8
            await break_all(proxy, server)
        await close_redis(client)
    server.kill()


async def test_nobody_gets_an_answer_to_what_another_has_asked(redis_server: RedisServer) -> None:
    """Whoever asks may leave at any moment, and what they have asked is answered all the same."""
    client = open_redis(redis_server.url, 5.0, 4)
    name = uuid.uuid4().hex
    await asyncio.gather(*(client.set(f"{name}-{n}", str(n)) for n in range(50)))

    async def ask(number: int, patience: int) -> None:
        task = asyncio.create_task(client.get(f"{name}-{number}"))
        for _ in range(patience):
            await asyncio.sleep(0)
        if patience:
            task.cancel()
        with suppress(asyncio.CancelledError):
            assert await task == str(number).encode()

    for patience in range(12):
        await asyncio.gather(*(ask(number, patience * (number % 2)) for number in range(50)))
    await close_redis(client)
