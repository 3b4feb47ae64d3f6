"""A thousand callers miss the same page at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from dynamodb_processor.v1.query_pb2 import CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from dynamodb_processor_server.access.rate_limits import RateClass
from tests.faults.conftest import open_ground
from tests.faults.load import EVENTS, USERS
from tests.support.running import eventually, numbers, query_spec

_CALLERS: Final = 1_000
_LEAVING: Final = 50
_METHOD: Final = "/dynamodb_processor.v1.QueryService/Query"


async def test_one_read_serves_them_all(
    tmp_path: Path, dynamodb_local: str, table: str, report: Callable[[str, str, str], None]
) -> None:
    """Whoever leaves before it ends, the first of them included, disturbs none of the others."""
    request = QueryRequest(query=query_spec("events", "user_id = :u", parameters={"u": USERS[0]}))
    async with open_ground(
        tmp_path,
        dynamodb_local,
        table,
        backend_read_timeout=20.0,
        rate_classes={"default": RateClass(calls_per_second=1_000_000)},
    ) as ground:
        ground.stub.gate.clear()

        def ask() -> grpc.aio.UnaryUnaryCall[QueryRequest, QueryResponse]:
            return ground.service.queries.Query(
                request, metadata=ground.service.metadata(), timeout=30
            )

        asked = [ask()]
        await eventually(lambda: ground.stub.reads)
        asked += [ask() for _ in range(_CALLERS - 1)]

        async def arrived(number: int) -> bool:
            return await ground.metric("active_calls", method=_METHOD) == number

        await eventually(lambda: arrived(_CALLERS))
        for call in asked[:_LEAVING]:
            call.cancel()
        await eventually(lambda: arrived(_CALLERS - _LEAVING))
        ground.stub.gate.set()
        pages = await asyncio.gather(*(_answer(call) for call in asked[_LEAVING:]))
        reads = ground.stub.reads

    statuses = Counter(CacheStatus.Name(page.cache.status) for page in pages)
    right = sum(numbers(page.items, "seq") == EVENTS for page in pages)
    report(
        f"stampede of {_CALLERS:,} on one replica",
        "1 backend call; who is cancelled disturbs nobody",
        f"{reads} backend call, {right} right, {_LEAVING} cancelled, {dict(statuses)}",
    )
    assert reads == 1
    assert right == _CALLERS - _LEAVING
    assert statuses == {"CACHE_STATUS_COALESCED": right}  # who began the read has left


async def _answer(call: grpc.aio.UnaryUnaryCall[QueryRequest, QueryResponse]) -> QueryResponse:
    return await call
