"""A thousand callers miss the same page at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import grpc

from dynamodb_processor.v1.query_pb2 import CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from tests.faults.conftest import Ground, open_ground
from tests.faults.load import EVENTS, USERS
from tests.support.access import token_keys
from tests.support.lengths import FULL, PATIENCE
from tests.support.redis_server import RedisServer
from tests.support.running import UNLIMITED, eventually, numbers, query_spec

_CALLERS: Final = 1_000
_LEAVING: Final = 50
_METHOD: Final = "/dynamodb_processor.v1.QueryService/Query"
_PATIENT: Final[dict[str, Any]] = {
    "backend_read_timeout": 20.0,
    "coalescing_timeout": 60.0,  # a thousand callers take some seconds to come
    "max_calls_per_connection": _CALLERS,
    "unary_deadline": PATIENCE,
    "rate_classes": {"default": UNLIMITED},
}


@dataclass(frozen=True, slots=True)
class Herd:
    """Callers that miss the same page while DynamoDB has not answered yet.

    `charged` are the read units that their principals have consumed.
    """

    answers: list[QueryResponse]
    cancelled: int
    reads: int
    charged: float

    @property
    def right(self) -> int:
        """The number of right answers."""
        return sum(numbers(page.items, "seq") == EVENTS for page in self.answers)

    @property
    def statuses(self) -> Counter[str]:
        """The cache statuses of the answers."""
        return Counter(CacheStatus.Name(page.cache.status) for page in self.answers)


async def stampede(*grounds: Ground) -> Herd:
    """Let callers request one page of every server in turn, and some of them leave.

    DynamoDB answers when all have come, and the leaving ones have left.
    """
    query = query_spec("events", "user_id = :u", parameters={"u": USERS[0]})
    for ground in grounds:
        ground.stub.gate.clear()
    servers = cycle(ground.service for ground in grounds)

    def ask() -> grpc.aio.UnaryUnaryCall[QueryRequest, QueryResponse]:
        server = next(servers)
        request = QueryRequest(query=query)
        return server.queries.Query(request, metadata=server.metadata(), timeout=PATIENCE)

    async def under_way(number: int) -> bool:
        counts = [await each.metric("active_calls", method=_METHOD) for each in grounds]
        return sum(counts) == number

    calls = [ask() for _ in grounds]
    await eventually(lambda: any(ground.stub.reads for ground in grounds))
    calls += [ask() for _ in range(_CALLERS - len(calls))]
    await eventually(lambda: under_way(_CALLERS))
    for call in calls[:_LEAVING]:
        call.cancel()
    await eventually(lambda: under_way(_CALLERS - _LEAVING))
    for ground in grounds:
        ground.stub.gate.set()
    answers = await asyncio.gather(*(_answer(call) for call in calls[_LEAVING:]))
    cancelled = sum(call.cancelled() for call in calls)
    reads = sum(ground.stub.reads for ground in grounds)
    charged = sum([await each.metric("principal_read_units_total") for each in grounds])
    return Herd(answers, cancelled, reads, charged)


async def _answer(call: grpc.aio.UnaryUnaryCall[QueryRequest, QueryResponse]) -> QueryResponse:
    return await call


async def test_one_read_serves_them_all(
    tmp_path: Path, dynamodb_local: str, table: str, report: Callable[[str, str, str], None]
) -> None:
    """A caller that leaves before it ends, the leader included, disturbs no other caller."""
    async with open_ground(tmp_path, dynamodb_local, table, **_PATIENT) as ground:
        herd = await stampede(ground)
    report(
        f"stampede of {_CALLERS:,} on one replica",
        "1 backend call; who is cancelled disturbs nobody",
        f"{herd.reads} backend call, {herd.right} right, {herd.cancelled} cancelled, "
        f"{dict(herd.statuses)}",
    )
    assert herd.reads == 1
    assert (herd.right, herd.cancelled) == (_CALLERS - _LEAVING, _LEAVING)
    assert herd.statuses == {"CACHE_STATUS_COALESCED": herd.right}  # The leader has left.
    assert herd.charged == 0.5


async def test_two_replicas_make_two_reads_at_most(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    own_redis: RedisServer,
    report: Callable[[str, str, str], None],
) -> None:
    """One waits for the other's read a while, then makes its own, as its callers wait for it."""
    shared = _PATIENT | {"redis_url": own_redis.url, "token_keys": token_keys("shared")}
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        folder.mkdir()
    async with (
        open_ground(folders[0], dynamodb_local, table, **shared) as first,
        open_ground(folders[1], dynamodb_local, table, **shared) as second,
    ):

        async def receives_invalidations(ground: Ground) -> bool:
            return await ground.metric("shared_cache_fresh") == 1

        for ground in (first, second):
            await eventually(partial(receives_invalidations, ground))
        herd = await stampede(first, second)
        # Look-ups of a replica that could not poll Redis in time: it joins no read of before.
        doubted = sum(
            [
                await ground.metric(
                    "shared_cache_operations_total", operation="look_up", outcome="not_fresh"
                )
                for ground in (first, second)
            ]
        )
    report(
        f"stampede of {_CALLERS:,} on two replicas and Redis",
        "at most 2 backend calls; who is cancelled disturbs nobody",
        f"{herd.reads} backend calls, {herd.right} right, {herd.cancelled} cancelled, "
        f"{dict(herd.statuses)}, {doubted:.0f} look-ups without a fresh view",
    )
    assert doubted == 0 or not FULL
    assert 1 <= herd.reads <= 2 + doubted
    assert (herd.right, herd.cancelled) == (_CALLERS - _LEAVING, _LEAVING)
    assert herd.statuses["CACHE_STATUS_COALESCED"] >= herd.right - 2
