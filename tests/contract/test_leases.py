"""Leases and checkpoints keep their promises, in Redis and in the memory that tests use."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import pytest
import redis

from dynamodb_processor_server.change_streams.port import NOWHERE, Checkpoint, Leases
from dynamodb_processor_server.change_streams.redis_leases import RedisLeases
from dynamodb_processor_server.errors import BackendUnavailable
from tests.support.leases import MemoryLeases
from tests.support.redis_server import RedisServer

STOOD = Checkpoint("events", {"a": "0001", "b": "first"}, 10.0)


@pytest.fixture(params=["memory", "redis"])
async def leases(request: pytest.FixtureRequest) -> AsyncIterator[Leases]:
    """Leases that nobody has."""
    if request.param == "memory":
        yield MemoryLeases(time.monotonic)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    opened = RedisLeases(server.url, 5.0, f"{uuid.uuid4().hex}:")
    yield opened
    await opened.close()


async def test_one_at_a_time_holds_a_lease(leases: Leases) -> None:
    """Until it is given up; others under other names are others."""
    assert await leases.take("t", "one", 60) == NOWHERE
    assert await leases.take("t", "one", 60) == NOWHERE  # whose answer may have been lost
    assert await leases.take("t", "two", 60) is None
    assert await leases.take("u", "two", 60) == NOWHERE
    assert await leases.renew("t", "one", 60, None)
    assert not await leases.renew("t", "two", 60, STOOD)
    await leases.release("t", "two", None)
    assert await leases.take("t", "two", 60) is None
    await leases.release("t", "one", None)
    assert await leases.take("t", "two", 60) == NOWHERE
    assert not await leases.renew("t", "one", 60, None)


async def test_a_lease_that_is_not_renewed_ends(leases: Leases) -> None:
    """And its holder cannot have it back from who took it."""
    await leases.take("t", "one", 0.05)
    await asyncio.sleep(0.1)
    assert not await leases.renew("t", "one", 60, STOOD)
    assert await leases.take("t", "two", 60) == NOWHERE
    await leases.release("t", "one", STOOD)
    assert await leases.take("t", "one", 60) is None


async def test_a_checkpoint_is_found_by_the_next(leases: Leases) -> None:
    """With the time left for which it is good, and the last one that there was."""
    await leases.take("t", "one", 60)
    await leases.renew("t", "one", 60, Checkpoint("events", {"a": "0000"}, 60.0))
    await leases.renew("t", "one", 60, STOOD)
    await leases.release("t", "one", None)
    found = await leases.take("t", "two", 60)
    assert found is not None
    assert (found.of, found.places) == (STOOD.of, STOOD.places)
    assert 5 < found.valid_for <= 10
    await leases.release("t", "two", Checkpoint("events", {}, 0.05))
    await asyncio.sleep(0.1)
    assert await leases.take("t", "one", 60) == NOWHERE


async def test_what_is_not_ours_counts_as_missing(redis_server: RedisServer) -> None:
    """Garbage in the place of a checkpoint or of a lease keeps nobody from following."""
    prefix = f"{uuid.uuid4().hex}:"
    leases = RedisLeases(redis_server.url, 5.0, prefix)
    with redis.Redis.from_url(redis_server.url) as client:
        for number, garbage in enumerate((b"garbage", b"{}", b'{"of":"x","places":{"a":1}}')):
            client.set(f"{prefix}checkpoint:t{number}", garbage, px=60_000)
            assert await leases.take(f"t{number}", "one", 60) == NOWHERE
        client.rpush(f"{prefix}lease:u", b"garbage")
        client.rpush(f"{prefix}checkpoint:u", b"garbage")
        assert await leases.take("u", "one", 60) == NOWHERE
        client.delete(f"{prefix}lease:u")
        client.rpush(f"{prefix}lease:u", b"garbage")
        assert not await leases.renew("u", "one", 60, STOOD)
    await leases.close()


async def test_a_redis_that_does_not_answer_is_not_waited_for(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Hung or gone: it is unavailable in good time, and afterwards works again."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    leases = RedisLeases(server.url, 0.2, "p:")
    try:
        assert await leases.take("t", "one", 60) == NOWHERE
        server.pause()
        with pytest.raises(BackendUnavailable):
            await leases.renew("t", "one", 60, None)
        server.resume()
        assert await leases.renew("t", "one", 60, None)
        server.kill()
        with pytest.raises(BackendUnavailable):
            await leases.take("t", "one", 60)
    finally:
        await leases.close()
        server.kill()
