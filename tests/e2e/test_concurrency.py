"""Many calls at once: no errors, and one read where one is enough."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy, CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.channels import SEEN, Caller
from tests.support.events import LONG, USERS
from tests.support.messages import spec

CALLERS: Final = 100
CALLS_EACH: Final = 4


def _request(number: int, mode: CacheMode.ValueType) -> QueryRequest:
    query = spec("events", "user_id = :u", {"u": {"S": USERS[number % len(USERS)]}})
    return QueryRequest(query=query, page_size=20, cache=CachePolicy(mode=mode))


async def _measured(caller: Caller, requests: Sequence[QueryRequest]) -> list[float]:
    """Make `CALLERS` calls at a time; return the seconds that each successful call took."""
    slots = asyncio.Semaphore(CALLERS)

    async def timed(request: QueryRequest) -> float:
        async with slots:
            began = time.perf_counter()
            page = await caller.query(request)
            assert len(page.items) == 20
            return time.perf_counter() - began

    outcomes = await asyncio.gather(*map(timed, requests), return_exceptions=True)
    return [outcome for outcome in outcomes if isinstance(outcome, float)]


def _p99(seconds: list[float]) -> str:
    return f"{sorted(seconds)[int(len(seconds) * 0.99) - 1] * 1000:.0f} ms"


async def test_cached_and_uncached_calls(caller: Caller, show_line: Callable[[str], None]) -> None:
    """A hundred concurrent callers get their pages, from the cache and from DynamoDB."""
    for number in range(len(USERS)):
        await caller.query(_request(number, CacheMode.CACHE_MODE_DEFAULT))
    before = len(SEEN)
    for name, mode in (
        ("cached", CacheMode.CACHE_MODE_ONLY_IF_CACHED),
        ("uncached", CacheMode.CACHE_MODE_BYPASS),
    ):
        requests = [_request(number, mode) for number in range(CALLERS * CALLS_EACH)]
        seconds = await _measured(caller, requests)
        show_line(
            f"{CALLERS} concurrent {name} unary calls, {len(requests)} in all: "
            f"{len(requests) - len(seconds)} errors, p99 {_p99(seconds)}"
        )
        assert len(seconds) == len(requests), SEEN[before:][:5]


async def test_identical_misses_share_one_read(caller: Caller) -> None:
    """A hundred callers that miss the same page at once cost one read of DynamoDB."""
    query = spec("events", "user_id = :u AND seq >= 1000", {"u": {"S": LONG}})
    pages = await asyncio.gather(
        *(caller.query(QueryRequest(query=query, page_size=500)) for _ in range(CALLERS))
    )
    statuses = [page.cache.status for page in pages]
    assert statuses.count(CacheStatus.CACHE_STATUS_MISS) == 1
    assert sum(page.stats.backend_calls for page in pages) == 1
    assert {len(page.items) for page in pages} == {500}
