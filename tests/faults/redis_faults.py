"""Faults of a Redis that two servers share, of any kind: the cases, the load and the checks."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import redis

from dynamodb_processor.v1.query_pb2 import CACHE_MODE_ONLY_IF_CACHED, CachePolicy
from tests.faults.load import DEADLINE
from tests.faults.proxy import Proxy, Weather
from tests.faults.versions import Outcomes, VersionedLoad, invalidate
from tests.support.access import token_keys
from tests.support.lengths import FULL, PATIENCE, at_length, timely
from tests.support.redis_server import RedisServer
from tests.support.running import UNLIMITED, Service, eventually, make_key, open_service, query_spec
from tests.support.scraping import metric

_GRACE: Final = 0.25  # Seconds past its deadline in which every call has ended.
_SECONDS: Final = at_length(1, 2)  # Of load; the fault comes in the first half and stays.
_RECOVERY: Final = PATIENCE
SEEDS: Final = at_length(1, 3)


@dataclass(frozen=True, slots=True)
class Replicas:
    """Two servers, their shared Redis, and the proxies on the way to it."""

    services: Sequence[Service]
    ways: Sequence[Proxy]
    redis: Any

    async def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, over both."""
        return sum([await metric(each, name, **labels) for each in self.services])


@dataclass(frozen=True, slots=True)
class Case:
    """One fault: of the Redis, or of the weather on the first `cut` ways.

    `prepare` waits before the load until the fault can come. `refuses` says whether no invalidation
    can be acknowledged where it reaches; `seconds` is the length of the load, for a fault that
    takes some time.
    """

    name: str
    strike: Callable[[Any], object] = lambda redis: None
    mend: Callable[[Any], object] = lambda redis: None
    prepare: Callable[[Any], object] = lambda redis: None
    weather: Weather = Weather.FAIR
    cut: int = 9
    refuses: bool = False
    seconds: float = _SECONDS


#: Faults of a network between the servers and Redis.
WEATHERS: Final = (
    Case("slow", weather=Weather.DELAY, refuses=True),
    Case("dripping", weather=Weather.DRIP, refuses=True),
    Case("reset", weather=Weather.RESET, refuses=True),
    Case("truncated", weather=Weather.TRUNCATE, refuses=True),
    Case("blackhole", weather=Weather.BLACKHOLE, refuses=True),
    Case("garbage", weather=Weather.GARBAGE, refuses=True),
)


def spoil(server: RedisServer) -> None:
    """Write other values under every key, at once: the replicas write meanwhile."""
    with redis.Redis.from_url(server.url) as client, client.pipeline() as pipeline:
        for number, key in enumerate(client.keys()):
            pipeline.delete(key)
            if number % 2:
                pipeline.set(key, b"garbage")
            else:
                pipeline.rpush(key, b"garbage")
        pipeline.execute()


def crowd(server: RedisServer) -> None:
    """Leave so little room that keys of any kind are evicted all the time."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 2_000)


@asynccontextmanager
async def open_replicas(
    directories: Callable[[str], Path],
    dynamodb_local: str,
    table: str,
    redis: Any,
    ways: Sequence[Proxy],
    urls: tuple[str, str],
    **settings: Any,
) -> AsyncIterator[Replicas]:
    """Open two servers that receive each other's invalidations, each with a URL of the Redis."""
    keys = token_keys("shared")
    admin = make_key("admin", roles=["reader", "admin"])
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(
                open_service(
                    directories(f"replica-{number}"),
                    dynamodb_local,
                    {"tables": {"events": {"table": table}}},
                    [admin],
                    metrics_listen="127.0.0.1:0",
                    token_keys=keys,
                    redis_url=url,
                    # Reads of DynamoDB Local are never stale, so pages are cached without a wait.
                    cache_quarantine=0,
                    cache_index_quarantine=0,
                    rate_classes={"default": UNLIMITED},
                    **settings,
                )
            )
            for number, url in enumerate(urls)
        ]
        opened = Replicas(services, ways, redis)
        await _all_well(opened)
        yield opened


async def survive(
    case: Case,
    seed: int,
    where: str,
    replicas: Replicas,
    write: Callable[[str, int], None],
    report: Callable[[str, str, str], None],
) -> None:
    """Check that no read is wrong, late or refused; then pages and invalidations are shared again.

    The case and the seed decide each call and its replica, and the time of the fault.
    """
    await asyncio.to_thread(case.prepare, replicas.redis)
    users = [f"{case.name}-{seed}-{n}-{uuid.uuid4().hex[:4]}" for n in range(9)]
    chance = random.Random(f"{case.name} {seed}")
    load = VersionedLoad(replicas.services, write, users, chance.getrandbits(32))
    before = await replicas.total("backend_calls_total")
    hits = await _hits(replicas)
    async with asyncio.TaskGroup() as group:
        group.create_task(_strike(replicas, case, chance.random() * _SECONDS / 3))
        running = group.create_task(load.run(case.seconds, partial(_shows, case)))
    attempts = await replicas.total("backend_calls_total") - before
    hits = await _hits(replicas) - hits

    await asyncio.to_thread(case.mend, replicas.redis)
    for way in replicas.ways:
        await way.set_weather(Weather.FAIR)
    seconds = await _all_well(replicas)
    after = await load.run(0.7, _has_answers)

    reads, invalidations = running.result().reads, running.result().invalidations
    report(
        f"{where} {case.name}, seed {seed}",
        f"0 wrong, 0 refused, by {DEADLINE + _GRACE:.2f} s, ≤ 1.2 attempts a call, "
        f"well in {_RECOVERY:.0f} s",
        f"{reads.right} right, {len(reads.wrong)} wrong, {dict(reads.codes)}, "
        f"latest {reads.latest:.2f} s, {hits:.0f} hits; "
        f"{invalidations.right} invalidations acknowledged, {dict(invalidations.codes)}; "
        f"{attempts:.0f} attempts, well after {seconds:.1f} s",
    )
    assert not reads.wrong
    assert not reads.codes
    assert hits or not FULL  # On a slow machine invalidations may always arrive too late.
    assert invalidations.codes.keys() <= {"UNAVAILABLE"}
    assert bool(invalidations.codes) or not case.refuses
    assert invalidations.honest
    assert timely(max(reads.latest, invalidations.latest), DEADLINE + _GRACE)
    assert attempts <= 1.2 * reads.calls
    for outcome in (after.reads, after.invalidations):
        assert outcome.right
        assert outcome.wrong == []
        # Redis has a tenth of a second for an answer, which a slow machine may exceed.
        assert outcome.codes == {} or not FULL


def _shows(case: Case, outcomes: Outcomes) -> bool:
    """Return whether a fault has had its expected effect."""
    return bool(outcomes.invalidations.codes) or not case.refuses


def _has_answers(outcomes: Outcomes) -> bool:
    return bool(outcomes.reads.right and outcomes.invalidations.right)


async def _strike(replicas: Replicas, case: Case, seconds: float) -> None:
    """Let the fault begin, so many seconds from now."""
    await asyncio.sleep(seconds)
    await asyncio.to_thread(case.strike, replicas.redis)
    for way in replicas.ways[: case.cut]:
        await way.set_weather(case.weather)


async def _hits(replicas: Replicas) -> float:
    return await replicas.total("reads_total", cache="HIT")


async def _all_well(replicas: Replicas) -> float:
    """Return the seconds until one replica's invalidations and pages reach the other."""
    began = time.monotonic()

    async def shared(here: Service, there: Service) -> bool:
        user = uuid.uuid4().hex
        query = query_spec("events", "user_id = :user", parameters={"user": user})
        with suppress(grpc.aio.AioRpcError):
            await invalidate(here, user)
            await here.query(query)
            await asyncio.sleep(0.02)
            await there.query(query, cache=CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED))
            return True
        return False

    for here, there in (replicas.services, replicas.services[::-1]):
        await eventually(partial(shared, here, there), patience=_RECOVERY)
    return time.monotonic() - began
