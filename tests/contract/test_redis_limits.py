"""Properties of limits in Redis alone: one count, no leftovers, no harm by foreign values."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from math import floor
from random import Random

import pytest
import redis

from dynamodb_processor_server.limits.redis.port import (
    LIMIT_STORE_BREAKER,
    BucketDebit,
    WindowAcquire,
)
from dynamodb_processor_server.limits.redis.store import RedisLimitStore
from dynamodb_processor_server.runtime.circuit_breaker import CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from dynamodb_processor_server.runtime.sliding_window import windows_until
from tests.support.redis_server import RedisServer

PREFIX = f"limits-{uuid.uuid4().hex}:"
KEY = ("default", "p", "")
_LONG = 1_000_000  # seconds of a window
_BUCKET = ("default", "p", "")


@pytest.fixture
async def limits(redis_server: RedisServer) -> AsyncIterator[RedisLimitStore]:
    """A replica's limits."""
    opened = RedisLimitStore(redis_server.url, 5.0, PREFIX)
    yield opened
    await opened.close()


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """A client of the store, which has no keys of the limits."""
    with redis.Redis.from_url(redis_server.url) as client:
        for key in client.scan_iter(f"{PREFIX}*"):
            client.delete(key)
        yield client


async def take(limits: RedisLimitStore, limit: int = 1, length: int = _LONG) -> float | None:
    """Count a call alone in a batch; return how long it has to wait."""
    (wait,) = await limits.acquire_windows([WindowAcquire(KEY, limit, length)])
    return wait


def window_key(length: int = _LONG) -> str:
    """Return the key of a window."""
    return f'{PREFIX}limit:calls:["default","p","",{length}]'


BUCKET_KEY = f'{PREFIX}limit:units:["default","p",""]'


async def test_windows_are_counted_as_in_a_process(
    limits: RedisLimitStore, raw: redis.Redis
) -> None:
    """The script decides as `runtime.sliding_window` does, for any counts of two windows."""
    random = Random(20)
    for _ in range(300):
        limit = random.randint(1, 1_000)
        before, now = random.randint(0, limit), random.randint(0, limit)
        index, passed = divmod(time.time() / _LONG, 1)
        age = random.choice((0, 0, 0, 1, 1, 2, -1))
        raw.set(window_key(), f"{index - age:.0f} {before} {now}")
        previous, current = {0: (before, now), 1: (now, 0)}.get(age, (0, 0))
        expected = None
        if floor(previous * (1 - passed)) + current >= limit:
            expected = windows_until(limit, previous, current, passed) * _LONG
        wait = await take(limits, limit)
        assert wait == pytest.approx(expected, abs=5.0)
        if expected is None:
            assert raw.get(window_key()) == f"{index:.0f} {previous} {current + 1}".encode()


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"-1 5 5", b"1 2", b"0 99 99", None])
async def test_invalid_values_count_as_missing_and_are_replaced(
    limits: RedisLimitStore, raw: redis.Redis, garbage: bytes | None
) -> None:
    """Keys of another type, and keys without an expiry, are replaced too."""
    for key in (window_key(), BUCKET_KEY):
        if garbage is None:
            raw.rpush(key, "x")
        else:
            raw.set(key, garbage)
    assert await take(limits) is None
    assert await limits.debit_buckets([BucketDebit(_BUCKET, 60.0, 5.0)]) == [55.0]
    assert await take(limits) is not None
    assert raw.ttl(window_key()) == pytest.approx(2 * _LONG, abs=5)
    assert 0 < raw.ttl(BUCKET_KEY) <= 5


async def test_keys_expire_when_they_are_no_longer_needed(
    limits: RedisLimitStore, raw: redis.Redis
) -> None:
    """A window lasts for two lengths, a bucket until it is full; a glance leaves no key."""
    await take(limits, length=1)
    assert await limits.debit_buckets([BucketDebit(_BUCKET, 60.0, 0.0)]) == [60.0]
    assert raw.keys(f"{PREFIX}*") == [window_key(1).encode()]
    assert 0 < raw.pttl(window_key(1)) <= 2_000
    assert await limits.debit_buckets([BucketDebit(_BUCKET, 60.0, 90.5)]) == [-30.5]
    assert raw.ttl(BUCKET_KEY) in (90, 91)


async def test_a_clock_that_goes_back_does_not_stop_a_bucket(
    limits: RedisLimitStore, raw: redis.Redis
) -> None:
    """When another server takes over, the balance is refilled from now on."""
    raw.set(BUCKET_KEY, f"-1.000000 {time.time() + 3_600:.6f}")
    (first,) = await limits.debit_buckets([BucketDebit(_BUCKET, 6_000.0, 0.0)])
    assert first == -1.0
    await asyncio.sleep(0.05)
    (second,) = await limits.debit_buckets([BucketDebit(_BUCKET, 6_000.0, 0.0)])
    assert second > 3.0


async def test_calls_in_a_batch_are_counted_one_after_the_other(limits: RedisLimitStore) -> None:
    """Each sees the calls before it, and a refused call leaves room for the others."""
    asked = [WindowAcquire(("default", name, "t"), 2, _LONG) for name in "xxxyxy"]
    waits = await limits.acquire_windows(asked)
    assert [wait is None for wait in waits] == [True, True, False, True, False, True]


async def test_many_replicas_take_from_one_limit(redis_server: RedisServer) -> None:
    """The sum is exact to the call, and to the unit."""
    replicas = [RedisLimitStore(redis_server.url, 5.0, f"{PREFIX}many:") for _ in range(4)]
    taken = await asyncio.gather(*(take(replicas[n % 4], 100) for n in range(400)))
    assert sum(wait is None for wait in taken) == 100
    await asyncio.gather(
        *(replicas[n % 4].debit_buckets([BucketDebit(_BUCKET, 1.0, 0.25)]) for n in range(400))
    )
    (balance,) = await replicas[0].debit_buckets([BucketDebit(_BUCKET, 1.0, 0.0)])
    assert balance == pytest.approx(-99, abs=0.2)
    for replica in replicas:
        await replica.close()


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (b"-ERR no\r\n", {"refused"}),
        (b"+OK\r\n", {"garbage"}),
        (b"*1\r\n$1\r\nx\r\n", {"garbage"}),
        (b"HTTP/1.1 400\r\n\r\n", {"garbage", "unreachable"}),
        (b"", {"timeout"}),
    ],
)
async def test_a_server_that_is_not_redis_is_a_store_error(answer: bytes, kinds: set[str]) -> None:
    """The error comes within the timeout, and has a kind and nothing more."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(answer * len(re.findall(rb"^\*\d+\r\n", data, re.MULTILINE)))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    limits = RedisLimitStore(f"redis://127.0.0.1:{port}", 0.5, PREFIX)
    for operation, command in (
        ("calls", lambda: take(limits)),
        ("read_units", lambda: limits.debit_buckets([BucketDebit(_BUCKET, 60.0, 5.0)])),
    ):
        guard = GuardedStore(CircuitBreaker(LIMIT_STORE_BREAKER, time.monotonic, lambda: 0.0), 0.5)
        with pytest.raises(StoreError) as lost:
            await guard.call(operation, command)
        assert lost.value.kind in kinds
        assert guard.outcomes == {(operation, lost.value.kind): 1}
    await limits.close()
    server.close()
    await server.wait_closed()
