"""The contract of leases and checkpoints, for Redis and for the tests' stand-in in memory."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import redis

from dynamodb_processor_server.change_streams.port import NO_CHECKPOINT, Checkpoint, Leases
from dynamodb_processor_server.change_streams.redis_leases import RedisLeases
from dynamodb_processor_server.errors import BackendUnavailable
from tests.support.leases import MemoryLeases
from tests.support.redis_server import RedisServer

CHECKPOINT = Checkpoint("events", {"a": "0001", "b": "first", "c": None}, 10.0, 60.0)


@pytest.fixture(params=["memory", "redis"])
async def leases(request: pytest.FixtureRequest) -> AsyncIterator[Leases]:
    """Leases that no replica holds."""
    if request.param == "memory":
        yield MemoryLeases(time.monotonic)
        return
    server: RedisServer = request.getfixturevalue("redis_server")
    opened = RedisLeases(server.url, 5.0, f"{uuid.uuid4().hex}:")
    yield opened
    await opened.close()


async def test_one_at_a_time_holds_a_lease(leases: Leases) -> None:
    """Another holder gets it only after its release; leases of other names are independent."""
    assert await leases.acquire("t", "one", 60) == NO_CHECKPOINT
    assert (
        await leases.acquire("t", "one", 60) == NO_CHECKPOINT
    )  # its first answer may have been lost
    assert await leases.acquire("t", "two", 60) is None
    assert await leases.acquire("u", "two", 60) == NO_CHECKPOINT
    assert await leases.renew("t", "one", 60, None)
    assert not await leases.renew("t", "two", 60, CHECKPOINT)
    await leases.release("t", "two", None)
    assert await leases.acquire("t", "two", 60) is None
    await leases.release("t", "one", None)
    assert await leases.acquire("t", "two", 60) == NO_CHECKPOINT
    assert not await leases.renew("t", "one", 60, None)


async def test_a_lease_that_is_not_renewed_ends(leases: Leases) -> None:
    """Its holder cannot renew it, nor get it back from the next holder."""
    await leases.acquire("t", "one", 0.05)
    await asyncio.sleep(0.1)
    assert not await leases.renew("t", "one", 60, CHECKPOINT)
    assert await leases.acquire("t", "two", 60) == NO_CHECKPOINT
    await leases.release("t", "one", CHECKPOINT)
    assert await leases.acquire("t", "one", 60) is None


async def test_the_next_holder_gets_the_checkpoint(leases: Leases) -> None:
    """It gets the last one stored, with the remaining seconds of its validity."""
    await leases.acquire("t", "one", 60)
    await leases.renew("t", "one", 60, Checkpoint("events", {"a": "0000"}, 60.0))
    await leases.renew("t", "one", 60, CHECKPOINT)
    await leases.release("t", "one", None)
    found = await leases.acquire("t", "two", 60)
    assert found is not None
    assert replace(found, valid_for=10.0) == CHECKPOINT
    assert 5 < found.valid_for <= 10
    await leases.release("t", "two", Checkpoint("events", {}, 0.05))
    await asyncio.sleep(0.1)
    assert await leases.acquire("t", "one", 60) == NO_CHECKPOINT


async def test_a_checkpoint_of_an_older_version_is_read(redis_server: RedisServer) -> None:
    """It does not name the largest lag of its writer."""
    prefix = f"{uuid.uuid4().hex}:"
    leases = RedisLeases(redis_server.url, 5.0, prefix)
    with redis.Redis.from_url(redis_server.url) as client:
        client.set(f"{prefix}checkpoint:t", b'{"of":"x","places":{"a":"1"}}', px=10_000)
        found = await leases.acquire("t", "one", 60)
    assert found is not None
    assert replace(found, valid_for=10.0) == Checkpoint("x", {"a": "1"}, 10.0)
    await leases.close()


async def test_foreign_values_count_as_missing(redis_server: RedisServer) -> None:
    """An unreadable checkpoint or lease does not keep a replica from acquiring the lease."""
    prefix = f"{uuid.uuid4().hex}:"
    leases = RedisLeases(redis_server.url, 5.0, prefix)
    with redis.Redis.from_url(redis_server.url) as client:
        values = (
            b"garbage",
            b"{}",
            b'{"of":"x","places":{"a":1}}',
            b'{"of":"x","places":{"a":""}}',
            b'{"of":"x","places":{"a":"1"},"max_lag":"60"}',
            b'{"of":"x","places":{"a":"1"},"max_lag":0}',
        )
        for number, garbage in enumerate(values):
            client.set(f"{prefix}checkpoint:t{number}", garbage, px=60_000)
            assert await leases.acquire(f"t{number}", "one", 60) == NO_CHECKPOINT
        client.rpush(f"{prefix}lease:u", b"garbage")
        client.rpush(f"{prefix}checkpoint:u", b"garbage")
        assert await leases.acquire("u", "one", 60) == NO_CHECKPOINT
        client.delete(f"{prefix}lease:u")
        client.rpush(f"{prefix}lease:u", b"garbage")
        assert not await leases.renew("u", "one", 60, CHECKPOINT)
    await leases.close()


async def test_a_redis_that_does_not_answer_is_not_waited_for(
    redis_binary: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A hung or dead Redis is reported within the timeout; after it resumes, leases work again."""
    server = RedisServer(redis_binary, tmp_path_factory.mktemp("redis"))
    server.start()
    leases = RedisLeases(server.url, 0.2, "p:")
    try:
        assert await leases.acquire("t", "one", 60) == NO_CHECKPOINT
        server.pause()
        with pytest.raises(BackendUnavailable):
            await leases.renew("t", "one", 60, None)
        server.resume()
        assert await leases.renew("t", "one", 60, None)
        server.kill()
        with pytest.raises(BackendUnavailable):
            await leases.acquire("t", "one", 60)
    finally:
        await leases.close()
        server.kill()
