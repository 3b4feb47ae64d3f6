"""Two servers that share the limits of their callers in Redis, and a Redis that fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

import grpc
import pytest
import redis
from google.rpc.error_details_pb2 import QuotaFailure, RetryInfo

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, error_info, open_caller, recording, status_of
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import ENVIRONMENT
from tests.support.lengths import FULL, PATIENCE, at_length, timely
from tests.support.messages import spec
from tests.support.processes import ServerProcess, served
from tests.support.redis_server import RedisServer
from tests.support.running import eventually

CALLS: Final = 20
UNITS: Final = 5
_CALLS_WITHOUT_REDIS: Final = at_length(200, 2_000)
_LONG: Final = 1_000_000  # Seconds: a window that does not end while the tests run.
_CLASSES: Final = {
    "default": {"calls_per_second": 1_000_000},
    "few": {"calls_per_second": CALLS / _LONG, "window": _LONG},
    "narrow": {
        "calls_per_second": 1_000,
        "window": _LONG,
        "table_calls_per_second": CALLS / _LONG,
    },
    "thrifty": {"calls_per_second": 1_000_000, "read_units_per_minute": UNITS},
}
_FAULTS: Final = ("killed", "hung", "read-only")
# On a slow machine an answer of Redis may come later than a server waits for it. Then the
# server's own limits decide, and the other servers count the same call again.
_ROUNDS: Final = range(10)
_HOLDERS: Final = {
    "busy": "default",
    "thrifty": "thrifty",
    **{f"few-{number}": "few" for number in _ROUNDS},
    **{f"narrow-{number}": "narrow" for number in _ROUNDS},
    **{f"before-{fault}": "few" for fault in _FAULTS},
    **{f"after-{fault}-{number}": "few" for fault in _FAULTS for number in _ROUNDS},
}
_QUERY: Final = QueryRequest(query=spec("limited", "name = :n", {"n": {"S": "one"}}))
_UNCACHED: Final = QueryRequest(
    query=_QUERY.query, cache=CachePolicy(mode=CacheMode.CACHE_MODE_BYPASS)
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two replicas, callers of them, and the Redis that they share."""

    servers: tuple[ServerProcess, ServerProcess]
    callers: tuple[Caller, Caller]
    redis: RedisServer

    async def call(
        self, replica: int, holder: str, request: QueryRequest = _QUERY
    ) -> grpc.aio.AioRpcError | None:
        """Make a call; return the reason if it was refused, None if it was not."""
        caller = self.callers[replica].using(ApiKey(holder).text)
        try:
            await caller.query(request, deadline=PATIENCE)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            return error
        return None

    async def calls(self, holder: str, number: int) -> list[grpc.aio.AioRpcError]:
        """Make so many calls at once, alternating between the replicas; return the refusals."""
        ends = await asyncio.gather(*(self.call(n % 2, holder) for n in range(number)))
        return [end for end in ends if end is not None]

    async def refused(self, holders: str) -> tuple[str, list[grpc.aio.AioRpcError]]:
        """Let a holder of this kind make three times the calls that it may.

        Returns the holder and the refusals of a round in which Redis answered in time.
        """
        for number in _ROUNDS:
            holder, late = f"{holders}-{number}", self._late()
            refused = await self.calls(holder, 3 * CALLS)
            if self._late() == late:
                return holder, refused
        raise AssertionError("Redis did not answer in time in any round")

    def _late(self) -> float:
        """Return how many operations of shared limits have failed."""
        return self.metric("rate_limit_operations_total", '(?!.*outcome="done").*')

    async def remaining(self, replica: int) -> int:
        """Return the few remaining read units that a replica reports when a cached page is read."""
        caller = self.callers[replica].using(ApiKey("thrifty").text)
        stub = QueryServiceStub(caller.channel)
        call = stub.Query(_QUERY, timeout=PATIENCE, metadata=caller.metadata)
        with recording("Query"):
            await call
        trailing = dict((await call.trailing_metadata()) or ())
        return int(trailing["x-read-units-remaining"])

    async def is_shared(self) -> bool:
        """Call both, and return whether Redis decides both."""
        for replica in (0, 1):
            assert await self.call(replica, "busy") is None
        return all(
            server.metric("rate_limit_breaker_state") == 0
            and server.metric("rate_limit_operations_total", ".*done.*") > 0
            for server in self.servers
        )

    def metric(self, name: str, labels: str = "") -> float:
        """Return the sum of a metric at both."""
        return sum(server.metric(name, labels) for server in self.servers)


@pytest.fixture(scope="module")
def servers(
    own_redis: RedisServer, dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    """Two servers of one table."""
    client = open_client(dynamodb_local)
    create_table(client, Schema("e2e-limited", "name", None, (), {"name": "S"}))
    put_items(client, "e2e-limited", [{"name": {"S": "one"}}])
    client.close()
    env = {
        **ENVIRONMENT,
        "DYNAMODB_PROCESSOR_REDIS_URL": own_redis.url,
        "DYNAMODB_PROCESSOR_RATE_LIMIT_STORE": "redis",
        "DYNAMODB_PROCESSOR_RATE_CLASSES": json.dumps(_CLASSES),
    }
    keys = keys_file(*map(ApiKey, _HOLDERS))
    for entry in keys["keys"]:
        entry["rate_class"] = _HOLDERS[entry["principal"]]
    catalog = {"tables": {"limited": {"table": "e2e-limited", "cache_ttl": 300}}}

    def start() -> Any:
        directory = tmp_path_factory.mktemp("replica")
        args = (f"--redis-timeout={at_length(1.0, 0.3)}",)
        return served(catalog, keys, directory, endpoint_url=dynamodb_local, args=args, env=env)

    with start() as first, start() as second:
        yield first, second


@pytest.fixture
async def pair(
    own_redis: RedisServer, servers: tuple[ServerProcess, ServerProcess]
) -> AsyncIterator[Pair]:
    """Both servers with callers."""
    async with AsyncExitStack() as stack:
        one, other = [
            await stack.enter_async_context(open_caller(server.address, None)) for server in servers
        ]
        pair = Pair(servers, (one, other), own_redis)
        await eventually(pair.is_shared)
        yield pair


def advice(error: grpc.aio.AioRpcError) -> tuple[QuotaFailure.Violation, int]:
    """Return the limit that a refusal names, and the advised delay in ms."""
    assert error_info(error).reason == "RATE_LIMITED"
    quota, retry = QuotaFailure(), RetryInfo()
    details = status_of(error).details
    assert any(each.Unpack(quota) for each in details)
    assert any(each.Unpack(retry) for each in details)
    wait = retry.retry_delay.ToMilliseconds()
    assert dict(error.trailing_metadata() or ())["grpc-retry-pushback-ms"] == str(wait)
    (violation,) = quota.violations
    return violation, wait


async def test_each_call_counts_once_wherever_it_is_made(pair: Pair) -> None:
    """A refused caller learns the limit and the delay."""
    holder, refused = await pair.refused("few")
    assert len(refused) == 2 * CALLS
    assert await pair.call(0, holder) is not None
    assert await pair.call(1, holder) is not None
    for error in refused:
        violation, wait = advice(error)
        assert violation.subject == holder
        assert violation.description == f"over the limit of {CALLS} calls in {_LONG} s"
        assert 0 < wait <= 2_000 * _LONG
    with redis.Redis.from_url(pair.redis.url) as client:
        (key,) = client.scan_iter(f"*{holder}*")
        assert client.get(key).split()[2] == str(CALLS).encode()
        assert client.ttl(key) > 0
    used = [
        server.metric("rate_limit_calls_used", f'principal="{holder}",table=""')
        for server in pair.servers
    ]
    assert sum(used) == pytest.approx(1.0)
    assert min(used) > 0


async def test_each_call_about_a_table_counts_once_there(pair: Pair) -> None:
    """A call counts once at either replica, against the limit of its table."""
    holder, refused = await pair.refused("narrow")
    assert len(refused) == 2 * CALLS
    for error in refused:
        violation, wait = advice(error)
        assert violation.subject == f"{holder}/limited"
        assert violation.description == f"over the limit of {CALLS} calls in {_LONG} s on limited"
        assert 0 < wait <= 2_000 * _LONG
    labels = f'principal="{holder}",table="limited"'
    used = [server.metric("rate_limit_calls_used", labels) for server in pair.servers]
    assert sum(used) == pytest.approx(1.0)


async def test_read_units_of_one_are_refused_at_the_other(
    pair: Pair, show_line: Callable[[str], None]
) -> None:
    """Read units are shared soon after a read, so few further reads pass."""
    assert await pair.remaining(1) >= UNITS - 1
    for _ in range(4):
        assert await pair.call(0, "thrifty", _UNCACHED) is None  # Half a unit.

    async def knows() -> bool:
        return await pair.remaining(1) <= UNITS - 2

    began = time.monotonic()
    await eventually(knows)
    known = time.monotonic() - began
    consumed = 4
    while (refused := await pair.call(0, "thrifty", _UNCACHED)) is None:
        consumed += 1
    assert consumed >= 2 * UNITS - 2
    violation, wait = advice(refused)
    assert violation.subject == "thrifty"
    assert violation.description == f"over the limit of {UNITS} read units per minute"
    assert 0 < wait <= 12_000
    began, passed = time.monotonic(), 0
    while await pair.call(1, "thrifty", _UNCACHED) is None:
        passed += 1
        assert time.monotonic() - began < PATIENCE
    show_line(f"read units: shared after {known:.3f} s, {passed} reads passed in debt")
    assert timely(known, 2.0)
    assert passed <= at_length(20, 3)
    for server in pair.servers:
        assert server.metric("rate_limit_read_units_used", 'principal="thrifty",table=""') > 0.9


@pytest.mark.parametrize("fault", _FAULTS)
async def test_calls_go_on_when_redis_fails(
    pair: Pair, fault: str, show_line: Callable[[str], None]
) -> None:
    """They are in time and within each replica's own limits; afterwards limits are shared again."""
    shared = f"before-{fault}"
    assert len(await pair.calls(shared, CALLS)) == 0
    before = pair.metric("rate_limit_operations_total", 'operation="calls",outcome="done"')
    match fault:
        case "killed":
            pair.redis.kill()
        case "hung":
            pair.redis.pause()
        case _:
            with redis.Redis.from_url(pair.redis.url) as client:
                client.replicaof("127.0.0.1", 1)
    slow, slowest = 0, 0.0
    for number in range(_CALLS_WITHOUT_REDIS):
        began = time.monotonic()
        assert await pair.call(number % 2, "busy") is None
        seconds = time.monotonic() - began
        slow, slowest = slow + (seconds > 0.25), max(slowest, seconds)
    show_line(
        f"limits, Redis {fault}: {_CALLS_WITHOUT_REDIS} calls, slowest {slowest:.3f} s, "
        f"{slow} over 250 ms"
    )
    assert timely(slowest, 2.0)
    assert slow <= 20 or not FULL
    # Each replica has let half of the calls through, and counted those.
    assert len(await pair.calls(shared, 4 * CALLS)) == 3 * CALLS
    after = pair.metric("rate_limit_operations_total", 'operation="calls",outcome="done"')
    lost = pair.metric(
        "rate_limit_operations_total", 'operation="calls",outcome="rejected_by_breaker"'
    )
    assert after == before
    assert lost > 0
    assert pair.metric("rate_limit_breaker_state") > 0
    match fault:
        case "killed":
            pair.redis.start()
        case "hung":
            pair.redis.resume()
        case _:
            with redis.Redis.from_url(pair.redis.url) as client:
                client.replicaof("no", "one")

    await eventually(pair.is_shared)
    _, refused = await pair.refused(f"after-{fault}")
    assert len(refused) == 2 * CALLS
