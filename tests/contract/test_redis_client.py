"""Redis commands after connections have broken, or have a response that was never read."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import redis
import uvloop

from dynamodb_processor_server.runtime.guarded_store import StoreError
from dynamodb_processor_server.runtime.redis import RedisClient, close_redis, open_redis, run_script
from tests.faults.proxy import Proxy, Weather, open_proxy
from tests.support.redis_server import RedisServer
from tests.support.running import eventually


async def _kill(proxy: Proxy, server: RedisServer) -> None:
    """Let the server close every connection."""
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def _reset(proxy: Proxy, server: RedisServer) -> None:
    """Let the network reset every connection."""
    await proxy.set_weather(Weather.REFUSE)
    await proxy.set_weather(Weather.FAIR)
    await asyncio.sleep(0.05)  # the client's end hears of it before it is used again


# The server runs on uvloop, whose connections fail in ways of their own.
on_both_loops = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


@on_both_loops
@pytest.mark.parametrize("break_all", [_kill, _reset])
def test_commands_succeed_on_connections_that_broke_while_idle(
    break_all: Callable[[Proxy, RedisServer], Awaitable[None]],
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    own_redis: RedisServer,
) -> None:
    """All connections break."""

    async def ask() -> None:
        async with open_proxy("127.0.0.1", own_redis.port) as proxy:
            client = open_redis(f"redis://127.0.0.1:{proxy.port}", 5.0, 8)
            for _ in range(3):
                answers = await asyncio.gather(*(client.ping() for _ in range(8)))
                assert answers == [True] * 8
                await break_all(proxy, own_redis)
            await close_redis(client)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


@on_both_loops
def test_a_command_without_retries_fails_on_a_connection_that_was_reset(
    new_loop: Callable[[], asyncio.AbstractEventLoop], own_redis: RedisServer
) -> None:
    """The next command succeeds."""

    async def ask() -> None:
        async with open_proxy("127.0.0.1", own_redis.port) as proxy:
            client = open_redis(f"redis://127.0.0.1:{proxy.port}", 5.0, 1, retries=0)
            script = client.register_script("return 1")
            assert await run_script(script, (), ()) == 1
            await _reset(proxy, own_redis)
            with pytest.raises(StoreError, match="unreachable"):
                await run_script(script, (), ())
            assert await run_script(script, (), ()) == 1
            await close_redis(client)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


async def test_no_command_gets_the_response_to_another(redis_server: RedisServer) -> None:
    """A caller may be cancelled at any moment, and the response to its command still arrives."""
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


def _connections(server: RedisServer, name: str) -> int:
    """Return the number of a client's connections to a server."""
    with redis.Redis.from_url(server.url) as client:
        return sum(one["name"] == name for one in client.client_list())


async def test_commands_under_way_end_on_the_earlier_url(
    own_redis: RedisServer, redis_server: RedisServer
) -> None:
    """New commands go to the new URL meanwhile; then the earlier connections are closed."""
    name, key = f"c-{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    client = RedisClient(f"{own_redis.url}?client_name={name}", 5.0, 2)
    script = client.script("return redis.call('GET', KEYS[1])")
    with redis.Redis.from_url(redis_server.url) as other:
        other.set(key, "new")
    await client.connect([script])
    own_redis.pause()
    try:
        under_way = asyncio.create_task(client.run(script, (key,), ()))
        await asyncio.sleep(0)
        client.use(f"{redis_server.url}?client_name={name}")
        assert await client.run(script, (key,), ()) == b"new"
        assert not under_way.done()
    finally:
        own_redis.resume()
    assert await under_way is None
    await eventually(lambda: _connections(own_redis, name) == 0)
    assert _connections(redis_server, name) == 1
    await client.close()
    await eventually(lambda: _connections(redis_server, name) == 0)
