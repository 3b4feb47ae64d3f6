"""The cache at the wire: where an answer came from, and what it cost."""

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
    """Return a query that nobody has asked yet: all of a user's events, said in another way."""
    parameters = {"u": user, "low": next(_numbers)}
    return query_spec(table, "user_id = :u AND at > :low", parameters=parameters, **fields)


def status(page: Any) -> str:
    """Return how the cache took part."""
    return CacheStatus.Name(page.cache.status).removeprefix("CACHE_STATUS_")


def costs_nothing(page: QueryResponse) -> bool:
    """Return whether a page took nothing of DynamoDB."""
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
    """The same items and the time they were read, at no cost."""
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


async def test_what_makes_the_page_makes_the_entry(service: Service) -> None:
    """Order, projection and page size are other pages; the spelling and `max_items` are not."""
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
    """Each under its own position, whatever token led there, for streams and queries alike."""
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
    """Pages are the same for all who may read the table; tokens are each caller's own."""
    spec = fresh(user=ULRIKE)
    mine = await service.query(spec, key="reports", page_size=10)
    theirs = await service.query(spec, key="other", page_size=10)
    assert status(theirs) == "HIT"
    assert theirs.items == mine.items
    page = await service.query(spec, key="other", page_size=10, page_token=theirs.next_page_token)
    assert numbers(page.items, "at") == list(range(11, 21))


async def test_only_if_cached_reads_nothing(service: Service) -> None:
    """It answers or fails."""
    spec = fresh()
    assert await absent(service, spec)
    await service.query(spec)
    assert not await absent(service, spec)
    assert await absent(service, spec, page_size=3)


async def test_bypass_neither_looks_nor_stores(service: Service) -> None:
    """And says so."""
    spec = fresh()
    page = await service.query(spec, cache=_BYPASS)
    assert status(page) == "BYPASSED"
    assert not page.cache.HasField("expires_in")
    assert await absent(service, spec)
    await service.query(spec)
    assert status(await service.query(spec, cache=_BYPASS)) == "BYPASSED"


async def test_refresh_reads_and_stores(service: Service) -> None:
    """Others have the new page from then on."""
    spec = fresh()
    old = await service.query(spec)
    new = await service.query(spec, cache=_REFRESH)
    assert status(new) == "MISS"
    assert not costs_nothing(new)
    assert new.read_time.ToNanoseconds() > old.read_time.ToNanoseconds()
    hit = await service.query(spec)
    assert (status(hit), hit.read_time) == ("HIT", new.read_time)


async def test_max_staleness_bounds_the_age(service: Service) -> None:
    """Zero takes only what is read now; more takes what is cached."""
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
    """One of them pays, the others say that they did not."""
    spec = fresh(user=ULRIKE)
    pages = await asyncio.gather(*(service.query(spec, page_size=200) for _ in range(30)))
    statuses = Counter(map(status, pages))
    assert statuses["MISS"] == 1
    # Those who come before the read has ended join it; how many that are is the machine's to say.
    assert statuses["COALESCED"] + statuses["HIT"] == 29
    assert all(costs_nothing(page) for page in pages if status(page) != "MISS")
    assert all(page.items == pages[0].items for page in pages)


async def test_a_caller_who_leaves_does_not_take_the_read_along(service: Service) -> None:
    """The others who wait for it get it."""
    spec = fresh(user=ULRIKE)
    calls = [asyncio.ensure_future(service.query(spec, page_size=200)) for _ in range(10)]
    await asyncio.sleep(0)
    calls[0].cancel()
    pages = await asyncio.gather(*calls[1:])
    assert all(len(page.items) == 200 for page in pages)


async def test_a_table_may_keep_nothing(service: Service) -> None:
    """With a time to live of zero every answer is read."""
    spec = fresh("uncached")
    for _ in range(2):
        page = await service.query(spec)
        assert status(page) == "BYPASSED"
        assert not costs_nothing(page)
    assert await absent(service, spec)


async def test_an_empty_page_is_cached_like_any_other(service: Service) -> None:
    """That there is nothing is worth knowing too."""
    spec = fresh(user="nobody")
    assert [status(await service.query(spec)) for _ in range(2)] == ["MISS", "HIT"]


async def test_a_page_cut_by_a_budget_is_not_kept(service: Service) -> None:
    """Another caller did not ask for that one."""
    spec = fresh(user=ULRIKE)
    budget = {"max_scanned_items": 10}
    page = await service.query(spec, page_size=50, budget=budget)
    assert (status(page), len(page.items)) == ("MISS", 10)
    assert not page.cache.HasField("expires_in")
    whole = await service.query(spec, page_size=50)
    assert (status(whole), len(whole.items)) == ("MISS", 50)
    hit = await service.query(spec, page_size=50, budget=budget)
    assert (status(hit), len(hit.items)) == ("HIT", 50)
