"""One principal at its limit with queries that take long to plan, and another one's cached page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import CacheStatus
from dynamodb_processor.v1.query_service_pb2 import ExplainQueryRequest, QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.cores import a_core_of_its_own
from tests.faults.heavy_queries import HEAVY_QUERIES
from tests.faults.load import USERS
from tests.faults.pacing import CallOutcomes, call_at_pace, percentile
from tests.support.access import ApiKey, keys_file
from tests.support.lengths import FULL, at_length
from tests.support.messages import spec
from tests.support.processes import serving
from tests.support.redis_server import RedisServer

_HEAVY: Final = ApiKey("heavy")
_QUIET: Final = ApiKey("quiet")
_SECONDS: Final = at_length(1, 10)
# Seconds of planning per second. In a short run a busy machine may leave the whole server less of a
# core than the default share, and then nothing would be refused.
_SHARE: Final = at_length(0.02, 0.25)
_CLASSES: Final = {"default": {"calls_per_second": 1_000, "planning_seconds_per_second": _SHARE}}
_MOST_ROUNDS: Final = 60  # A slow machine needs several to use its planning time up.
_CALLERS: Final = 8
_PER_SECOND: Final = 100.0  # The default class allows ten times as many.
_TIMES: Final = 5.0
# Of a page that is cached, unless a slow Redis has not confirmed it in time.
_STATUSES: Final = (
    CacheStatus.CACHE_STATUS_HIT,
    CacheStatus.CACHE_STATUS_MISS,
    CacheStatus.CACHE_STATUS_COALESCED,
)


def _channel(address: str) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])


def _explaining(channel: grpc.aio.Channel, requests: Sequence[bytes]) -> Any:
    """Return a function that has a query planned with each call: too large to be remembered."""
    explain: Any = channel.unary_unary("/dynamodb_processor.v1.QueryService/ExplainQuery")
    following = cycle(requests)

    async def call() -> None:
        await explain(next(following), timeout=30, metadata=[("x-api-key", _HEAVY.text)])

    return call


def _hitting(channel: grpc.aio.Channel) -> Callable[[], Awaitable[None]]:
    """Return a function that gets one cached page."""
    queries = QueryServiceStub(channel)
    request = QueryRequest(query=spec("events", f"user_id = '{USERS[0]}'"))

    async def call() -> None:
        page = await queries.Query(request, timeout=30, metadata=[("x-api-key", _QUIET.text)])
        assert page.cache.status in _STATUSES

    return call


async def _until_refused(call: Callable[[], Awaitable[None]]) -> CallOutcomes:
    """Make heavy calls in rounds of `_SECONDS` until some are refused; return the last round.

    A principal may use four seconds' worth of its share at once, which takes a slow machine longer.
    """
    load = CallOutcomes()
    for _ in range(_MOST_ROUNDS):
        load = await call_at_pace(call, _CALLERS, _SECONDS, _PER_SECOND)
        if load.refused or load.failed:
            break
    return load


@pytest.mark.parametrize("store", ["memory", "redis"])
async def test_planning_of_one_principal_leaves_another_its_answers(
    store: str,
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    redis_server: RedisServer,
    report: Callable[[str, str, str], None],
) -> None:
    """Queries that take long to plan are refused beyond their share, and planned beside the loop.

    Each replica counts planning time itself, with any store of call limits.
    """
    shared = [f"--rate-limit-store={store}"]
    environment = {
        "DYNAMODB_PROCESSOR_TOKEN_KEYS": "k:" + "A" * 43,
        "DYNAMODB_PROCESSOR_RATE_CLASSES": json.dumps(_CLASSES),
    }
    if store == "redis":
        environment["DYNAMODB_PROCESSOR_REDIS_URL"] = redis_server.url
    # Made before, since these callers and the measured one share a loop.
    shapes = {
        name: [ExplainQueryRequest(query=shape(n)).SerializeToString() for n in range(20)]
        for name, shape in HEAVY_QUERIES.items()
    }
    figures: dict[str, tuple[float, float, int, int]] = {}
    async with serving(
        {"tables": {"events": {"table": table}}},
        keys_file(_HEAVY, _QUIET),
        tmp_path,
        endpoint_url=dynamodb_local,
        args=shared,
        env=environment,
    ) as server:
        with a_core_of_its_own(server):
            for name, requests in shapes.items():
                async with _channel(server.address) as loud, _channel(server.address) as soft:
                    heavy, hit = _explaining(loud, requests), _hitting(soft)
                    await hit()
                    quiet = await call_at_pace(hit, 2, _SECONDS, 50.0)
                    load, beside = await asyncio.gather(
                        _until_refused(heavy),
                        call_at_pace(hit, 2, _SECONDS, 50.0),
                    )
                assert not load.failed
                assert not beside.failed
                assert not beside.refused
                p99 = [percentile(each.answered, 0.99) for each in (quiet, beside)]
                figures[name] = (p99[0], p99[1], len(load.answered), len(load.refused))
    worst = max(figures, key=lambda name: figures[name][1] / figures[name][0])
    report(
        f"planning at its limit, limits in {store}, {_SECONDS} s each",
        f"a cached page's p99 at most {_TIMES:g} times its quiet p99; what is too much refused",
        "; ".join(
            f"{name}: {quiet * 1000:.1f} to {beside * 1000:.1f} ms ({beside / quiet:.1f} times), "
            f"{planned} planned, {refused} refused"
            for name, (quiet, beside, planned, refused) in figures.items()
        )
        + f"; worst: {worst}",
    )
    assert all(refused for *_, refused in figures.values())
    if FULL:
        assert all(beside <= _TIMES * quiet for quiet, beside, *_ in figures.values())
