"""Tests of freshness through gRPC: callers see their own writes, and never go back in time."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_MODE_ONLY_IF_CACHED,
    CachePolicy,
    CacheStatus,
    QuerySpec,
    TotalOptions,
)
from tests.rpc.data import ULRIKE, VIKTOR, events_catalog
from tests.support.access import token_keys
from tests.support.running import Service, make_key, open_service, query_spec, refusal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYS: Final = [
    make_key("reports"),
    make_key("ruled", tables=[{"table": "*", "rule": f"user_id = '{VIKTOR}'"}]),
]
_numbers = itertools.count(-2_000_000)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def another(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Service]:
    """A second replica with the same token keys, which shares no cache with the first."""
    directory = tmp_path_factory.mktemp("another")
    settings: dict[str, Any] = {"token_keys": token_keys("fleet")}
    catalog = events_catalog(events)
    async with open_service(directory, dynamodb_local, catalog, KEYS, **settings) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, events: str
) -> AsyncIterator[Service]:
    """The first replica."""
    directory = tmp_path_factory.mktemp("first")
    settings: dict[str, Any] = {"token_keys": token_keys("fleet")}
    catalog = events_catalog(events)
    async with open_service(directory, dynamodb_local, catalog, KEYS, **settings) as running:
        yield running


def new_query(user: str = VIKTOR, **fields: Any) -> QuerySpec:
    """Return a query that is not cached yet: all of a user's events, in another spelling."""
    parameters = {"u": user, "low": next(_numbers)}
    return query_spec("events", "user_id = :u AND at > :low", parameters=parameters, **fields)


def after(token: str, **fields: Any) -> CachePolicy:
    """Return the policy of a caller who has seen the answer of a token."""
    return CachePolicy(not_before_token=token, **fields)


def status(answer: Any) -> str:
    """Return the cache status of a response."""
    return CacheStatus.Name(answer.cache.status).removeprefix("CACHE_STATUS_")


def now() -> Timestamp:
    """Return the time."""
    return Timestamp(seconds=int(time.time()), nanos=int(time.time() % 1 * 1e9))


async def test_a_caller_sees_its_own_write(fleet: Service) -> None:
    """With the time of the write as bound, an earlier page is read again, at twice the price."""
    spec = new_query()
    first = await fleet.query(spec)
    assert status(await fleet.query(spec)) == "HIT"
    page = await fleet.query(spec, cache=CachePolicy(not_before=now()))
    assert status(page) == "MISS"
    assert page.stats.read_units == 2 * first.stats.read_units
    assert status(await fleet.query(spec)) == "HIT"


async def test_a_token_of_any_replica_is_a_bound(fleet: Service, another: Service) -> None:
    """A page that another replica read before is not served; one that it reads now is."""
    spec = new_query()
    old = await another.query(spec)
    seen = await fleet.query(spec)
    assert status(await another.query(spec)) == "HIT"
    page = await another.query(spec, cache=after(seen.freshness_token))
    assert status(page) == "MISS"
    assert page.read_time.ToNanoseconds() > old.read_time.ToNanoseconds()


async def test_the_same_page_is_served_again(fleet: Service) -> None:
    """A caller that sends the last token with each call still hits the cache."""
    spec = new_query()
    token = (await fleet.query(spec)).freshness_token
    tokens = set()
    for _ in range(3):
        page = await fleet.query(spec, cache=after(token))
        assert status(page) == "HIT"
        token = page.freshness_token
        tokens.add(token)
    assert len(tokens) == 1, "it is remembered with the page, and so is the request"
    both = after(token, mode=CACHE_MODE_ONLY_IF_CACHED)
    assert status(await fleet.query(spec, cache=both)) == "HIT"
    both.not_before.CopyFrom(now())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fleet.query(spec, cache=both)
    assert refusal_of(caught.value).code is grpc.StatusCode.FAILED_PRECONDITION


async def test_counts_totals_and_streams_obey_and_have_tokens(fleet: Service) -> None:
    """Each of their reads shows what the caller has seen; the token of a stream grows."""
    spec = new_query(ULRIKE)
    count = await fleet.count(spec)
    assert status(await fleet.count(spec, cache=after(count.freshness_token))) == "HIT"
    messages = await fleet.messages(spec, page_size=100)
    assert [status(message) for message in messages] == ["MISS"] * 3
    assert len({message.freshness_token for message in messages}) == 3
    first, last = messages[0].freshness_token, messages[-1].freshness_token
    assert status(await fleet.count(spec, cache=after(last))) == "MISS"
    again = await fleet.messages(spec, page_size=100, cache=after(first))
    assert [status(message) for message in again] == ["HIT", "MISS", "MISS"]
    total = TotalOptions()
    page = await fleet.query(spec, total=total)
    repeated = await fleet.query(spec, total=total, cache=after(page.freshness_token))
    assert repeated.stats.backend_calls == 0
    assert repeated.total == page.total


async def test_a_stream_reads_every_page_anew_for_a_late_bound(fleet: Service) -> None:
    """The cached pages behind the first one are too old as well."""
    spec = new_query(ULRIKE)
    await fleet.messages(spec, page_size=100)
    messages = await fleet.messages(spec, page_size=100, cache=CachePolicy(not_before=now()))
    assert [status(message) for message in messages] == ["MISS"] * 3


async def test_several_tokens_are_one_bound(fleet: Service, another: Service) -> None:
    """They are joined with dots; the latest of them counts."""
    spec = new_query()
    tokens = [(await fleet.query(new_query())).freshness_token for _ in range(2)]
    await another.query(spec)
    tokens.insert(1, (await fleet.query(new_query())).freshness_token)
    assert status(await another.query(spec, cache=after(".".join(tokens)))) == "MISS"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await fleet.query(spec, cache=after(".".join(tokens * 34)))
    (violation,) = refusal_of(caught.value).details["BadRequest"].field_violations
    assert violation.field == "cache.not_before_token"
    assert "at most 100 tokens, not 102" in violation.description


@pytest.mark.parametrize(
    "policy",
    [
        CachePolicy(not_before_token="nonsense"),
        CachePolicy(not_before=Timestamp(seconds=253_402_300_800)),
        CachePolicy(not_before=Timestamp(seconds=-62_135_596_801)),
        CachePolicy(not_before=Timestamp(nanos=-1)),
        CachePolicy(not_before=Timestamp(nanos=1_000_000_000)),
    ],
)
async def test_what_is_no_bound_is_refused(fleet: Service, policy: CachePolicy) -> None:
    """All methods name the field; a time in the distant past or future is fine."""
    spec = new_query()
    for method in (fleet.query, fleet.count, fleet.messages):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(spec, cache=policy)
        refusal = refusal_of(caught.value)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        (violation,) = refusal.details["BadRequest"].field_violations
        assert violation.field == f"cache.{policy.ListFields()[0][0].name}"
    for seconds in (-62_135_596_800, 253_402_300_799):
        await fleet.query(spec, cache=CachePolicy(not_before=Timestamp(seconds=seconds)))


async def test_a_page_token_is_no_freshness_token(fleet: Service) -> None:
    """Nor is a freshness token a page token: each has its own keys."""
    page = await fleet.query(new_query(ULRIKE), page_size=10)
    with pytest.raises(grpc.aio.AioRpcError, match="freshness_token"):
        await fleet.query(new_query(), cache=after(page.next_page_token))
    with pytest.raises(grpc.aio.AioRpcError, match="page_token"):
        await fleet.query(new_query(), page_token=page.freshness_token)


async def test_a_ruled_caller_does_not_learn_when_pages_were_read(fleet: Service) -> None:
    """Its tokens differ for equal pages, have one length, and help with no other caller's pages."""
    spec, probe = new_query(), new_query()
    answers = [await fleet.query(spec, key="ruled") for _ in range(3)]
    assert not any(answer.HasField("cache") for answer in answers)
    bypassed = await fleet.query(spec, key="ruled", cache=CachePolicy(mode=CACHE_MODE_BYPASS))
    tokens = [answer.freshness_token for answer in (*answers, bypassed)]
    assert len(set(tokens)) == 4
    assert len({len(token) for token in tokens}) == 1
    await fleet.query(probe, cache=CachePolicy(not_before=now()))
    last = (await fleet.query(spec, key="ruled")).freshness_token
    only = after(last, mode=CACHE_MODE_ONLY_IF_CACHED)
    with pytest.raises(grpc.aio.AioRpcError, match="not cached"):
        await fleet.query(probe, cache=only)
