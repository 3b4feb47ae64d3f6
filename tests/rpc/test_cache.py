"""Tests of the cache through gRPC: the cache status of responses, and their cost."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_MODE_ONLY_IF_CACHED,
    CACHE_MODE_REFRESH,
    CachePolicy,
    CacheStatus,
    QuerySpec,
)
from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from tests.rpc.data import ULRIKE, VIKTOR
from tests.support.running import Service, numbers, query_spec, refusal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BYPASS = CachePolicy(mode=CACHE_MODE_BYPASS)
_REFRESH = CachePolicy(mode=CACHE_MODE_REFRESH)
_ONLY_IF_CACHED = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED)
_numbers = itertools.count(-1_000_000)


def fresh(table: str = "events", user: str = VIKTOR, **fields: Any) -> QuerySpec:
    """Return a query that is not cached yet: all of a user's events, in another spelling."""
    parameters = {"u": user, "low": next(_numbers)}
    return query_spec(table, "user_id = :u AND at > :low", parameters=parameters, **fields)


def status(page: Any) -> str:
    """Return the cache status of a response."""
    return CacheStatus.Name(page.cache.status).removeprefix("CACHE_STATUS_")


def costs_nothing(page: QueryResponse) -> bool:
    """Return whether a page needed no request to DynamoDB."""
    stats = page.stats
    taken = (stats.items_scanned, stats.read_units, stats.backend_calls, stats.throttle_retries)
    return not any(taken) and not stats.backend_time.ToNanoseconds()


async def absent(service: Service, spec: QuerySpec, **fields: Any) -> bool:
    """Return whether a page is not cached."""
    try:
        await service.query(spec, cache=_ONLY_IF_CACHED, **fields)
    except grpc.aio.AioRpcError as error:
        refusal = refusal_of(error)
        assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
        (violation,) = refusal.details["PreconditionFailure"].violations
        assert (violation.type, violation.subject) == ("NOT_CACHED", "cache.mode")
        return True
    return False


async def test_the_second_answer_comes_from_the_cache(service: Service) -> None:
    """It has the same items and read time, at no cost."""
    spec = fresh()
    miss = await service.query(spec)
    hit = await service.query(spec)
    assert (status(miss), status(hit)) == ("MISS", "HIT")
    assert not costs_nothing(miss)
    assert costs_nothing(hit)
    assert hit.items == miss.items
    assert hit.end == miss.end
    assert hit.read_time == miss.read_time
    assert hit.stats.items_returned == 5
    assert miss.cache.age.ToNanoseconds() == 0
    assert 0 < hit.cache.age.ToNanoseconds() < 60e9
    assert 280 < hit.cache.expires_in.ToSeconds() <= miss.cache.expires_in.ToSeconds() <= 300


async def test_an_entry_depends_on_order_projection_and_page_size(service: Service) -> None:
    """The spelling of the query and `max_items` make no difference."""
    spec = fresh(user=ULRIKE)
    assert status(await service.query(spec, page_size=10)) == "MISS"
    assert status(await service.query(spec, page_size=11)) == "MISS"
    for field, value in {"order": "ORDER_DESCENDING", "projection": ["at"]}.items():
        other = QuerySpec()
        other.CopyFrom(spec)
        other.MergeFrom(QuerySpec(**{field: value}))  # type: ignore[arg-type]
        assert status(await service.query(other, page_size=10)) == "MISS"
    spelled = QuerySpec()
    spelled.CopyFrom(spec)
    spelled.expression = "( at>:low ) and user_id=:u"
    spelled.max_items = 100
    assert status(await service.query(spelled, page_size=10)) == "HIT"


async def test_further_pages_are_cached_as_well(service: Service) -> None:
    """Each page is cached under its cursor, for streams and queries, from any token."""
    spec = fresh(user=ULRIKE)
    streamed = await service.messages(spec, page_size=100)
    assert [status(message) for message in streamed] == ["MISS"] * 3
    token, seen = "", []
    for _ in streamed:
        page = await service.query(spec, page_size=100, page_token=token)
        assert status(page) == "HIT"
        token = page.next_page_token
        seen += numbers(page.items, "at")
    assert token == ""
    assert seen == list(range(1, 251))


async def test_a_principals_hit_may_be_anothers_read(service: Service) -> None:
    """Pages are shared by all callers that may read the table; tokens are each caller's own."""
    spec = fresh(user=ULRIKE)
    mine = await service.query(spec, key="reports", page_size=10)
    theirs = await service.query(spec, key="other", page_size=10)
    assert status(theirs) == "HIT"
    assert theirs.items == mine.items
    page = await service.query(spec, key="other", page_size=10, page_token=theirs.next_page_token)
    assert numbers(page.items, "at") == list(range(11, 21))


async def test_only_if_cached_reads_nothing(service: Service) -> None:
    """The call returns a cached page or fails."""
    spec = fresh()
    assert await absent(service, spec)
    await service.query(spec)
    assert not await absent(service, spec)
    assert await absent(service, spec, page_size=3)


async def test_bypass_neither_looks_nor_stores(service: Service) -> None:
    """The response says that the cache was bypassed."""
    spec = fresh()
    page = await service.query(spec, cache=_BYPASS)
    assert status(page) == "BYPASSED"
    assert not page.cache.HasField("expires_in")
    assert await absent(service, spec)
    await service.query(spec)
    assert status(await service.query(spec, cache=_BYPASS)) == "BYPASSED"


async def test_refresh_reads_and_stores(service: Service) -> None:
    """Other callers get the new page afterwards."""
    spec = fresh()
    old = await service.query(spec)
    new = await service.query(spec, cache=_REFRESH)
    assert status(new) == "MISS"
    assert not costs_nothing(new)
    assert new.read_time.ToNanoseconds() > old.read_time.ToNanoseconds()
    hit = await service.query(spec)
    assert (status(hit), hit.read_time) == ("HIT", new.read_time)


async def test_max_staleness_bounds_the_age(service: Service) -> None:
    """Zero accepts only a new read; a larger bound accepts a cached page."""
    spec = fresh()
    old = await service.query(spec)
    hit = await service.query(spec, cache=CachePolicy(max_staleness=Duration(seconds=60)))
    assert (status(hit), hit.read_time) == ("HIT", old.read_time)
    new = await service.query(spec, cache=CachePolicy(max_staleness=Duration()))
    assert status(new) == "MISS"
    assert new.read_time.ToNanoseconds() > old.read_time.ToNanoseconds()
    only = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED, max_staleness=Duration())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.query(spec, cache=only)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


async def test_concurrent_identical_misses_share_one_read(service: Service) -> None:
    """One caller pays for the read, the others' responses have no cost."""
    spec = fresh(user=ULRIKE)
    pages = await asyncio.gather(*(service.query(spec, page_size=200) for _ in range(30)))
    statuses = Counter(map(status, pages))
    assert statuses["MISS"] == 1
    # Calls before the end of the read join it; their number depends on the machine.
    assert statuses["COALESCED"] + statuses["HIT"] == 29
    assert all(costs_nothing(page) for page in pages if status(page) != "MISS")
    assert all(page.items == pages[0].items for page in pages)


async def test_a_cancelled_caller_does_not_cancel_the_shared_read(service: Service) -> None:
    """The other callers that wait for the read get its page."""
    spec = fresh(user=ULRIKE)
    calls = [asyncio.ensure_future(service.query(spec, page_size=200)) for _ in range(10)]
    await asyncio.sleep(0)
    calls[0].cancel()
    pages = await asyncio.gather(*calls[1:])
    assert all(len(page.items) == 200 for page in pages)


async def test_a_table_may_keep_nothing(service: Service) -> None:
    """With a time to live of zero every page is read."""
    spec = fresh("uncached")
    for _ in range(2):
        page = await service.query(spec)
        assert status(page) == "BYPASSED"
        assert not costs_nothing(page)
    assert await absent(service, spec)


async def test_an_empty_page_is_cached_like_any_other(service: Service) -> None:
    """An empty result is cached, too."""
    spec = fresh(user="nobody")
    assert [status(await service.query(spec)) for _ in range(2)] == ["MISS", "HIT"]


async def test_a_page_cut_by_a_budget_is_not_kept(service: Service) -> None:
    """Another caller did not set that budget."""
    spec = fresh(user=ULRIKE)
    budget = {"max_scanned_items": 10}
    page = await service.query(spec, page_size=50, budget=budget)
    assert (status(page), len(page.items)) == ("MISS", 10)
    assert not page.cache.HasField("expires_in")
    whole = await service.query(spec, page_size=50)
    assert (status(whole), len(whole.items)) == ("MISS", 50)
    hit = await service.query(spec, page_size=50, budget=budget)
    assert (status(hit), len(hit.items)) == ("HIT", 50)
