"""The lifetime of the shared cache's generations in Redis: as long as they are needed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import redis

from dynamodb_processor_server.cache.redis.port import LookupRequest
from dynamodb_processor_server.cache.redis.store import RedisStore
from tests.support.redis_server import RedisServer

QUARANTINE: Final = 10.0
SPARE: Final = 60.0
SOON: Final = 2.0  # seconds that a test may take


@dataclass
class Ground:
    """A store in its first epoch, and a client that sees the keys."""

    store: RedisStore
    client: Any
    prefix: str
    epoch: bytes

    async def lookup(self, lifetime: float) -> None:
        """Look a page up."""
        await self.store.lookup(LookupRequest(self.epoch, b"page", (b"tag",), 0.0, lifetime))

    @property
    def keys(self) -> list[bytes]:
        """The keys of generations."""
        return list(self.client.keys(f"{self.prefix}*:gen:*"))

    @property
    def life(self) -> float:
        """For how many more seconds the only generation lives."""
        (key,) = self.keys
        return float(self.client.pttl(key)) / 1_000

    @life.setter
    def life(self, seconds: float) -> None:
        (key,) = self.keys
        self.client.pexpire(key, int(seconds * 1_000))


@pytest.fixture
async def ground(redis_server: RedisServer) -> AsyncIterator[Ground]:
    """A store with a prefix of its own, and no generations."""
    prefix = f"store-{uuid.uuid4().hex}:"
    store = RedisStore(redis_server.url, 1.0, prefix, QUARANTINE)
    with redis.Redis.from_url(redis_server.url) as client:
        yield Ground(store, client, prefix, (await store.poll(b"", 0, 1)).epoch)
    await store.close()


async def test_an_invalidated_generation_lives_for_the_quarantine(ground: Ground) -> None:
    """Tags that are written and never read are soon forgotten."""
    await ground.lookup(3_600.0)
    await ground.store.invalidate([b"tag"], b"")
    assert QUARANTINE + SPARE - SOON < ground.life <= QUARANTINE + SPARE


async def test_a_generation_that_is_looked_up_outlives_the_page(ground: Ground) -> None:
    """New and invalidated generations do; a page with a shorter life does not shorten it."""
    for lifetime in (300.0, 3_600.0):
        await ground.lookup(lifetime)
        assert lifetime + SPARE - SOON < ground.life <= lifetime + SPARE
        await ground.lookup(1.0)
        assert ground.life > lifetime + SPARE - SOON
        await ground.store.invalidate([b"tag"], b"")


async def test_a_lookup_writes_only_when_needed(ground: Ground) -> None:
    """While half of the spare time is left, the generation outlives a page that is read now."""
    await ground.lookup(300.0)
    for left, lives in ((335.0, 335.0), (325.0, 300.0 + SPARE)):
        ground.life = left
        await ground.lookup(300.0)
        assert lives - SOON < ground.life <= lives


async def test_a_lookup_without_a_read_writes_nothing(ground: Ground) -> None:
    """It makes no generation, and extends none."""
    await ground.lookup(0.0)
    assert ground.keys == []
    await ground.lookup(300.0)
    ground.life = 10.0
    await ground.lookup(0.0)
    assert ground.life <= 10.0


async def test_progress_lives_for_a_minute(ground: Ground) -> None:
    """It is of no use for longer. A value of another type makes room for it."""
    name = f"{ground.prefix}{ground.epoch[:32].decode()}:progress"
    await ground.store.note_progress(ground.epoch, b"value")
    assert 58 < ground.client.ttl(name) <= 60
    ground.client.delete(name)
    ground.client.set(name, b"something else")
    assert not (await ground.store.poll(ground.epoch, 1, 9)).progress
    for _ in range(2):  # the first one makes room
        await ground.store.note_progress(ground.epoch, b"value")
    ((_, value),) = (await ground.store.poll(ground.epoch, 1, 9)).progress
    assert value == b"value"
