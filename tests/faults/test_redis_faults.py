"""The shared Redis fails in every way, and no answer is wrong, late or refused."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
import redis

from dynamodb_processor.v1.query_pb2 import CACHE_MODE_ONLY_IF_CACHED, CachePolicy
from tests.faults.load import DEADLINE, event
from tests.faults.proxy import Proxy, Weather, open_proxy
from tests.faults.versions import Outcomes, VersionedLoad, invalidate
from tests.support.access import token_keys
from tests.support.dynamodb import open_client
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
    """Two servers, their shared Redis, and each one's connection to it."""

    services: tuple[Service, Service]
    ways: tuple[Proxy, Proxy]
    redis: RedisServer

    async def total(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels, over both."""
        return sum([await metric(each, name, **labels) for each in self.services])


Harm = Callable[[RedisServer], object]


@dataclass(frozen=True, slots=True)
class Case:
    """One fault: of the server, or of the weather on the way of `cut` replicas.

    `refuses` says whether no invalidation can be acknowledged where it reaches.
    """

    name: str
    strike: Harm = lambda server: None
    mend: Harm = lambda server: None
    weather: Weather = Weather.FAIR
    cut: int = 2
    refuses: bool = False


def _command(*words: str | int) -> Harm:
    """Return a function that sends a command to the server."""

    def tell(server: RedisServer) -> None:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command(*words)

    return tell


def _spoil(server: RedisServer) -> None:
    """Write other values under every key, at once: the replicas write meanwhile."""
    with redis.Redis.from_url(server.url) as client, client.pipeline() as pipeline:
        for number, key in enumerate(client.keys()):
            pipeline.delete(key)
            if number % 2:
                pipeline.set(key, b"garbage")
            else:
                pipeline.rpush(key, b"garbage")
        pipeline.execute()


def _crowd(server: RedisServer) -> None:
    """Leave so little room that keys of any kind are evicted all the time."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"] - 2_000)


CASES: Final = (
    Case("killed", RedisServer.kill, RedisServer.start, refuses=True),
    Case("hung", RedisServer.pause, RedisServer.resume, refuses=True),
    Case("slow", weather=Weather.DELAY, refuses=True),
    Case("dripping", weather=Weather.DRIP, refuses=True),
    Case("reset", weather=Weather.RESET, refuses=True),
    Case("truncated", weather=Weather.TRUNCATE, refuses=True),
    Case("blackhole", weather=Weather.BLACKHOLE, refuses=True),
    Case("garbage", weather=Weather.GARBAGE, refuses=True),
    Case("out of reach", weather=Weather.REFUSE, refuses=True),
    Case("out of one replica's reach", weather=Weather.BLACKHOLE, cut=1, refuses=True),
    Case("flushed", _command("FLUSHALL")),
    Case("keys spoilt", _spoil),
    Case("evicting", _crowd, _command("CONFIG", "SET", "maxmemory", 0)),
    Case("read-only", _command("REPLICAOF", "127.0.0.1", 1), _command("REPLICAOF", "NO", "ONE")),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def replicas(
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    table: str,
    own_redis: RedisServer,
) -> AsyncIterator[Replicas]:
    """Two servers that receive each other's invalidations, the same for each fault in turn."""
    keys = token_keys("shared")
    admin = make_key("admin", roles=["reader", "admin"])
    async with AsyncExitStack() as stack:
        services, ways = [], []
        for name in ("first", "second"):
            way = await stack.enter_async_context(open_proxy("127.0.0.1", own_redis.port))
            service = open_service(
                tmp_path_factory.mktemp(name),
                dynamodb_local,
                {"tables": {"events": {"table": table}}},
                [admin],
                metrics_listen="127.0.0.1:0",
                token_keys=keys,
                redis_url=f"redis://127.0.0.1:{way.port}",
                # Reads of DynamoDB Local are never stale, so pages are cached without a wait.
                cache_quarantine=0,
                cache_index_quarantine=0,
                rate_classes={"default": UNLIMITED},
            )
            services.append(await stack.enter_async_context(service))
            ways.append(way)
        opened = Replicas((services[0], services[1]), (ways[0], ways[1]), own_redis)
        await _all_well(opened)
        yield opened


@pytest.fixture(scope="module")
def write(dynamodb_local: str, table: str) -> Iterator[Callable[[str, int], None]]:
    """A function that puts one event of a user."""
    client: Any = open_client(dynamodb_local)
    yield lambda user, seq: client.put_item(TableName=table, Item=event(user, seq))
    client.close()


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
    """No read is wrong, late or refused; then pages and invalidations are shared again.

    A seed decides each call and its replica, and the time of the fault.
    """
    users = [f"{case.name}-{seed}-{n}-{uuid.uuid4().hex[:4]}" for n in range(9)]
    load = VersionedLoad(replicas.services, write, users, len(CASES) * seed + CASES.index(case))
    before = await replicas.total("backend_calls_total")
    hits = await _hits(replicas)
    async with asyncio.TaskGroup() as group:
        group.create_task(_strike(replicas, case, random.Random(seed).random() * _SECONDS / 3))
        running = group.create_task(load.run(_SECONDS, partial(_shows, case)))
    attempts = await replicas.total("backend_calls_total") - before
    hits = await _hits(replicas) - hits

    await asyncio.to_thread(case.mend, replicas.redis)
    for way in replicas.ways:
        await way.set_weather(Weather.FAIR)
    seconds = await _all_well(replicas)
    after = await load.run(0.7, _has_answers)

    reads, invalidations = running.result().reads, running.result().invalidations
    report(
        f"Redis {case.name}, seed {seed}",
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
