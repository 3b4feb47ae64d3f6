"""Tests of cached items through gRPC: the cache status, cost and age of `BatchGetItems`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CACHE_MODE_ONLY_IF_CACHED,
    CACHE_MODE_REFRESH,
    CONSISTENCY_STRONG,
    CachePolicy,
    CacheStatus,
)
from dynamodb_processor.v1.query_service_pb2 import BatchGetItemsRequest, BatchGetItemsResponse
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import event, events_catalog, events_schema
from tests.rpc.logged import Logged
from tests.rpc.violating import refusal
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refusal_of,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

_BYPASS = CachePolicy(mode=CACHE_MODE_BYPASS)
_REFRESH = CachePolicy(mode=CACHE_MODE_REFRESH)
_ONLY_IF_CACHED = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED)
Put = Callable[..., None]


@pytest.fixture(scope="module")
def written(dynamodb_local: str) -> Iterator[tuple[str, Put]]:
    """A table of events, and its writer."""
    table = f"rpc-items-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, events_schema(table))

    def put(user: str, at: int, **more: Any) -> None:
        put_items(client, table, [event(user, at) | more])

    yield table, put
    client.delete_table(TableName=table)
    client.close()


@pytest.fixture
def put(written: tuple[str, Put]) -> Put:
    """Writes an event of a user."""
    return written[1]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, written: tuple[str, Put]
) -> AsyncIterator[Service]:
    """A server of the table, for an administrator, and for a caller who sees low events only."""
    keys = [
        make_key("both", roles=["reader", "admin"]),
        make_key(
            "low", tables=[{"table": "events", "rule": "note = 'low'", "rule_as_filter": True}]
        ),
    ]
    directory = tmp_path_factory.mktemp("items")
    catalog = events_catalog(written[0])
    async with open_service(directory, dynamodb_local, catalog, keys) as running:
        yield running


def key(user: str, at: Any = 1) -> Item:
    """Return a primary key."""
    return Item(attributes={"user_id": AttributeValue(s=user), "at": AttributeValue(n=str(at))})


def status(answer: BatchGetItemsResponse) -> str:
    """Return the cache status of a response."""
    return CacheStatus.Name(answer.cache.status).removeprefix("CACHE_STATUS_")


def notes(answer: BatchGetItemsResponse) -> list[str | None]:
    """Return the note of each item, None for a missing one."""
    return [
        result.item.attributes["note"].s if result.HasField("item") else None
        for result in answer.results
    ]


async def test_the_second_answer_comes_from_the_cache(service: Service, put: Put) -> None:
    """It has the same items and read time, at no cost; absence is cached as well."""
    put("twice", 1)
    keys = [key("twice"), key("twice", 9), key("twice", "1.0")]
    miss = await service.get("events", keys)
    hit = await service.get("events", keys)
    assert (status(miss), status(hit)) == ("MISS", "HIT")
    assert miss.stats.backend_calls > 0
    assert (hit.stats.backend_calls, hit.stats.read_units, hit.stats.items_scanned) == (0, 0, 0)
    assert hit.stats.items_returned == 2
    assert hit.results == miss.results
    assert hit.read_time == miss.read_time
    assert miss.cache.age.ToNanoseconds() == 0
    assert 0 < hit.cache.age.ToNanoseconds() < 60e9
    assert 280 < hit.cache.expires_in.ToSeconds() <= miss.cache.expires_in.ToSeconds() <= 300


async def test_only_the_other_items_are_read(service: Service, put: Put) -> None:
    """A batch that is cached in part costs the rest; the results come in the order of the keys."""
    for at in (1, 2, 3):
        put("part", at, note={"S": str(at)})
    await service.get("events", [key("part", 2)])
    mixed = await service.get("events", [key("part", 3), key("part", 2), key("part", 1)])
    assert (status(mixed), notes(mixed)) == ("MISS", ["3", "2", "1"])
    assert mixed.stats.items_scanned == 2
    assert mixed.cache.age.ToNanoseconds() > 0


async def test_the_policy_of_a_request_is_obeyed(service: Service, put: Put) -> None:
    """BYPASS and strong reads use no cache, REFRESH stores, ONLY_IF_CACHED reads nothing."""
    put("modes", 1, note={"S": "old"})
    keys = [key("modes")]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.get("events", keys, cache=_ONLY_IF_CACHED)
    refused = refusal_of(caught.value)
    assert refused.code is grpc.StatusCode.FAILED_PRECONDITION
    (violation,) = refused.details["PreconditionFailure"].violations
    assert (violation.type, violation.subject) == ("NOT_CACHED", "cache.mode")
    await service.get("events", keys)
    put("modes", 1, note={"S": "new"})
    assert notes(await service.get("events", keys, cache=_ONLY_IF_CACHED)) == ["old"]
    for fields in ({"cache": _BYPASS}, {"consistency": CONSISTENCY_STRONG}):
        answer = await service.get("events", keys, **fields)
        assert (status(answer), notes(answer)) == ("BYPASSED", ["new"])
        assert not answer.cache.HasField("expires_in")
    assert notes(await service.get("events", keys)) == ["old"]
    assert status(await service.get("events", keys, cache=_REFRESH)) == "MISS"
    assert notes(await service.get("events", keys)) == ["new"]


async def test_a_table_without_a_lifetime_is_not_cached(service: Service, put: Put) -> None:
    """`cache_ttl: 0` holds for items as it does for pages."""
    put("uncached", 1)
    for _ in range(2):
        assert status(await service.get("uncached", [key("uncached")])) == "BYPASSED"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (CachePolicy(mode=9), "cache.mode"),  # type: ignore[arg-type]
        (CachePolicy(max_staleness=Duration(seconds=-1)), "cache.max_staleness"),
    ],
)
async def test_a_bad_policy_is_refused_with_its_field(
    service: Service, policy: CachePolicy, field: str
) -> None:
    """The violation is that of a query with such a policy."""
    request = BatchGetItemsRequest(table="events", keys=[key("bad")], cache=policy)
    assert (await refusal(service, request)).fields == [field]


@pytest.mark.parametrize("scope", ["partition", "table", "index"])
async def test_writes_are_seen_after_an_invalidation(
    service: Service, put: Put, scope: str
) -> None:
    """Items are cached until their partition, their table or a partition of an index is named."""
    put(scope, 1, note={"S": "old"}, system_id={"S": f"system-{scope}"})
    keys = [key(scope)]
    assert notes(await service.get("events", keys)) == ["old"]
    put(scope, 1, note={"S": "new"})
    assert notes(await service.get("events", keys)) == ["old"]
    named = {"partition": {"user_id": scope}, "table": {}, "index": {"system_id": "system-index"}}
    await service.invalidate("events", **named[scope])
    fresh = await service.get("events", keys)
    assert (status(fresh), notes(fresh)) == ("MISS", ["new"])
    assert status(await service.get("events", keys)) == "HIT"


async def test_other_partitions_stay_cached(service: Service, put: Put) -> None:
    """An invalidation of one partition does not end the items of another one."""
    put("spared", 1)
    await service.get("events", [key("spared")])
    await service.invalidate("events", user_id="someone-else")
    assert status(await service.get("events", [key("spared")])) == "HIT"


async def test_a_row_rule_hides_items_and_the_use_of_the_cache(service: Service, put: Put) -> None:
    """Callers share items; one with a rule gets those that it admits, and no cost or read time."""
    put("ruled", 1, note={"S": "low"})
    put("ruled", 2, note={"S": "high"})
    keys = [key("ruled", 1), key("ruled", 2)]
    for _ in range(2):
        answer = await service.get("events", keys, key="low")
        assert notes(answer) == ["low", None]
        assert answer.results[1].missing_key == keys[1]
        assert not answer.HasField("cache")
        assert not answer.HasField("read_time")
        assert (answer.stats.items_returned, answer.stats.backend_calls) == (1, 0)
    shared = await service.get("events", keys)
    assert (status(shared), notes(shared)) == ("HIT", ["low", "high"])
    found = await refused(service.get("events", keys, key="low", cache=_ONLY_IF_CACHED))
    assert (found.reason, found.fields) == ("INVALID_REQUEST", ["cache.mode"])


async def test_concurrent_calls_read_an_item_once(service: Service, put: Put) -> None:
    """Calls that come at the same time share a read."""
    put("crowd", 1)
    answers = await asyncio.gather(*(service.get("events", [key("crowd")]) for _ in range(20)))
    assert sum(answer.stats.backend_calls for answer in answers) == 1
    assert {status(answer) for answer in answers} <= {"MISS", "COALESCED", "HIT"}


async def test_the_statistics_count_items(service: Service, put: Put) -> None:
    """Items are counted apart from pages, and each key is a lookup."""
    put("counted", 1)

    async def counts() -> tuple[int, int, int]:
        stats = (await service.cache.GetCacheStats(
            GetCacheStatsRequest(), metadata=service.metadata("both")
        )).total  # fmt: skip
        return stats.item_entries, stats.item_hits, stats.item_misses

    before = await counts()
    for _ in range(2):
        await service.get("events", [key("counted"), key("counted", 2)])
    assert [now - then for now, then in zip(await counts(), before, strict=True)] == [2, 2, 2]


async def test_the_access_log_has_the_status(service: Service, put: Put, logged: Logged) -> None:
    """A call whose items are all cached is a hit in the log."""
    put("logged", 1)
    for _ in range(2):
        await service.get("events", [key("logged")])
    lines = await eventually(lambda: len(found := logged.of("call")) == 2 and found)
    assert [line["cache"] for line in lines] == ["MISS", "HIT"]


async def test_a_caller_sees_the_writes_before_a_time(service: Service, put: Put) -> None:
    """An older item is read anew, consistently; then it is cached for that time as well."""
    put("since", 1, note={"S": "old"})
    keys = [key("since")]
    first = await service.get("events", keys)
    put("since", 1, note={"S": "new"})
    assert notes(await service.get("events", keys)) == ["old"]
    now = Timestamp()
    now.GetCurrentTime()
    since = CachePolicy(not_before=now)
    fresh = await service.get("events", keys, cache=since)
    assert (status(fresh), notes(fresh)) == ("MISS", ["new"])
    assert fresh.stats.read_units == 1  # twice an eventual one
    assert status(await service.get("events", keys, cache=since)) in ("HIT", "MISS")
    assert notes(await service.get("events", keys)) == ["new"]
    assert first.freshness_token


async def test_tokens_of_gets_and_queries_hold_for_each_other(service: Service, put: Put) -> None:
    """No read with the token of an earlier answer shows older data, whatever the method."""
    put("tokens", 1, note={"S": "old"})
    keys = [key("tokens")]
    spec = query_spec("events", "user_id = 'tokens'")
    await service.get("events", keys)
    await service.query(spec)
    put("tokens", 1, note={"S": "new"})
    token = (await service.get("events", keys, cache=_REFRESH)).freshness_token
    since = CachePolicy(not_before_token=token)
    page = await service.query(spec, cache=since)
    assert [item.attributes["note"].s for item in page.items] == ["new"]
    put("tokens", 1, note={"S": "newer"})
    token = (await service.query(spec, cache=_REFRESH)).freshness_token
    since = CachePolicy(not_before_token=token)
    for _ in range(2):
        assert notes(await service.get("events", keys, cache=since)) == ["newer"]
    hidden = await service.get("events", keys, key="low", cache=since)
    assert notes(hidden) == [None]
    assert hidden.freshness_token


async def test_a_bad_bound_is_refused_with_its_field(service: Service) -> None:
    """A token that is none of ours is refused for gets as for queries."""
    request = BatchGetItemsRequest(
        table="events", keys=[key("bad")], cache=CachePolicy(not_before_token="x")
    )
    for _ in range(2):  # planned, and remembered
        assert (await refusal(service, request)).fields == ["cache.not_before_token"]
        await service.get("events", [key("bad")])
