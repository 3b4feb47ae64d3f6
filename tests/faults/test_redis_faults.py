"""The shared Redis fails in every way, and no answer is wrong, late or refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Final

import pytest
import pytest_asyncio
import redis

from tests.faults.proxy import Weather, open_proxy
from tests.faults.redis_faults import (
    SEEDS,
    WEATHERS,
    Case,
    Replicas,
    crowd,
    open_replicas,
    spoil,
    survive,
)
from tests.support.redis_server import RedisServer


def _command(*words: str | int) -> Callable[[RedisServer], object]:
    """Return a function that sends a command to the server."""

    def tell(server: RedisServer) -> None:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command(*words)

    return tell


CASES: Final = (
    Case("killed", RedisServer.kill, RedisServer.start, refuses=True),
    Case("hung", RedisServer.pause, RedisServer.resume, refuses=True),
    *WEATHERS,
    Case("out of reach", weather=Weather.REFUSE, refuses=True),
    Case("out of one replica's reach", weather=Weather.BLACKHOLE, cut=1, refuses=True),
    Case("flushed", _command("FLUSHALL")),
    Case("keys spoilt", spoil),
    Case("evicting", crowd, _command("CONFIG", "SET", "maxmemory", 0)),
    Case("read-only", _command("REPLICAOF", "127.0.0.1", 1), _command("REPLICAOF", "NO", "ONE")),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    table: str,
    own_redis: RedisServer,
) -> AsyncIterator[Replicas]:
    """Two servers, each with its own connection to Redis, the same for each fault in turn."""
    async with AsyncExitStack() as stack:
        first, second = [
            await stack.enter_async_context(open_proxy("127.0.0.1", own_redis.port))
            for _ in range(2)
        ]
        urls = f"redis://127.0.0.1:{first.port}", f"redis://127.0.0.1:{second.port}"
        opened = open_replicas(
            tmp_path_factory.mktemp, dynamodb_local, table, own_redis, (first, second), urls
        )
        yield await stack.enter_async_context(opened)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_fault_of_redis_is_survived(
    case: Case,
    seed: int,
    replicas: Replicas,
    write: Callable[[str, int], None],
    report: Callable[[str, str, str], None],
) -> None:
    """No read is wrong, late or refused; then pages and invalidations are shared again."""
    await survive(case, seed, "Redis", replicas, write, report)
