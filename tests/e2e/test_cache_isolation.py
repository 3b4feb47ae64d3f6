"""Queries that differ in one respect never get each other's cached pages."""

from __future__ import annotations

from typing import Final

from dynamodb_processor.v1.query_pb2 import CacheMode, CacheStatus, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.channels import Caller
from tests.support.complete_reads import by_pages
from tests.support.events import USERS
from tests.support.messages import spec
from tests.support.oracle import canonical_item

_USER: Final = "user_id = 'u-3'"
# Each query differs from another one in a single respect.
ALIKE: Final[tuple[QuerySpec, ...]] = (
    spec("events", _USER),
    spec("copies", _USER),
    spec("listed", _USER),
    spec("e2e-events", _USER),
    spec("events", "user_id = 'u-4'"),
    spec("events", _USER, descending=True),
    spec("events", _USER, projection=["seq"]),
    spec("events", _USER, projection=["seq", "action"]),
    spec("events", _USER, projection=["tags"]),
    spec("events", _USER, max_items=7),
    spec("events", _USER, max_items=8),
    spec("events", f"{_USER} AND action = 'read'"),
    spec("events", f"{_USER} AND action = 'write'"),
    spec("events", f"{_USER} AND NOT action = 'write'"),
    spec("events", f"{_USER} AND seq > 5"),
    spec("events", f"{_USER} AND seq >= 5"),
    spec("events", f"{_USER} AND seq > 5 AND seq < 9"),
    spec("events", f"{_USER} AND seq > 5 AND seq <= 9"),
    spec("events", f"{_USER} AND seq BETWEEN 5 AND 9"),
    # Conditions that only the service evaluates; all send the same request to DynamoDB.
    spec("events", f"{_USER} AND seq <> 5"),
    spec("events", f"{_USER} AND seq <> 6"),
    spec("events", f"{_USER} AND seq IN (5, 6)"),
    spec("events", f"{_USER} AND seq IN (5, 7)"),
    spec("events", "system_id = 's-3'"),
    spec("events", f"system_id = 's-3' AND {_USER}"),
    spec("events", f"system_id = 's-3' AND {_USER}", index="by_system"),
    spec("events", f"system_id = 's-3' AND {_USER}", index="@table"),
)


async def test_similar_queries_keep_apart(caller: Caller) -> None:
    """Read repeatedly from the cache, each query gives the items that DynamoDB gives for it."""
    for _ in range(2):
        for query in ALIKE:
            read = await by_pages(caller, query, 6, mode=CacheMode.CACHE_MODE_BYPASS)
            cached = await by_pages(caller, query, 6)
            wanted = list(map(canonical_item, read.items))
            assert list(map(canonical_item, cached.items)) == wanted, query


async def test_page_sizes_keep_apart(caller: Caller) -> None:
    """A page cached for one page size does not serve another."""
    query = spec("events", f"user_id = '{USERS[5]}'")
    for size in (4, 3, 5, 3, 4):
        page = await caller.query(QueryRequest(query=query, page_size=size))
        assert len(page.items) == size


async def test_another_spelling_is_the_same_query(caller: Caller) -> None:
    """Parameters, literals, swapped operands, `1` and `1.0` are one query with one cached page."""
    parameters = {"u": {"S": "u-6"}, "n": {"N": "1E0"}}
    spellings = (
        spec("events", "user_id = 'u-6' AND seq >= 1"),
        spec("events", "1.0 <= seq AND 'u-6' = user_id"),
        spec("events", "user_id = :u and seq >= :n", parameters),
    )
    pages = [await caller.query(QueryRequest(query=query)) for query in spellings]
    statuses = [page.cache.status for page in pages]
    assert statuses[0] == CacheStatus.CACHE_STATUS_MISS
    assert statuses[1:] == [CacheStatus.CACHE_STATUS_HIT] * 2
