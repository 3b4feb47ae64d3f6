"""Tests of `CacheService`: fresh responses after an invalidation, which needs the role admin."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.cache_service_pb2 import (
    CacheStats,
    GetCacheStatsRequest,
    GetCacheStatsResponse,
    InvalidateCacheRequest,
    WholeTable,
)
from dynamodb_processor.v1.query_pb2 import CACHE_MODE_ONLY_IF_CACHED, CachePolicy, QuerySpec
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.counting import status
from tests.rpc.data import event, events_catalog, events_schema
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ONLY_IF_CACHED = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED)
_QUARANTINE = 0.2
Put = Callable[..., None]


@pytest.fixture(scope="module")
def tables(dynamodb_local: str) -> Iterator[tuple[str, str, Put]]:
    """A table of events, one of composed keys, and a writer of the first."""
    suffix = uuid.uuid4().hex[:8]
    events, composed = f"rpc-written-{suffix}", f"rpc-composed-{suffix}"
    client = open_client(dynamodb_local)
    create_table(client, events_schema(events))
    by_day = Index("by_day", False, ("day",), ())
    types = {"PK": "S", "SK": "S", "day": "N"}
    create_table(client, Schema(composed, "PK", "SK", (by_day,), types))
    put_items(
        client,
        composed,
        [
            {"PK": {"S": "USER#a"}, "SK": {"S": "1"}, "day": {"N": "1767225600"}},
            {
                "PK": {"S": "USER#b"},
                "SK": {"S": "1"},
                "gone_at": {"N": str(int(time.time()) + 100)},
            },
            {
                "PK": {"S": "USER#b"},
                "SK": {"S": "2"},
                "gone_at": {"N": str(int(time.time()) + 200)},
            },
        ],
    )

    def put(user: str, at: int, **more: Any) -> None:
        put_items(client, events, [event(user, at) | more])

    yield events, composed, put
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def written(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, tables: tuple[str, str, Put]
) -> AsyncIterator[Service]:
    """A server of the two, whose first key is a reader's and an admin's."""
    events, composed, _ = tables
    catalog = events_catalog(events)
    catalog["tables"]["composed"] = {
        "table": composed,
        "keys": {"PK": "USER#{user_id}"},
        "timestamps": {"day": "epoch_seconds"},
        "time_to_live": "gone_at",
        "sparse": "allow",
    }
    keys = [
        make_key("both", roles=["reader", "admin"]),
        make_key("reader"),
        make_key("few", roles=["admin"], tables=["composed"]),
        make_key(
            "systems", roles=["admin"], tables=[{"table": "events", "attributes": ["system_id"]}]
        ),
        make_key("part", roles=["admin"], tables=[{"table": "events", "attributes": ["user_id"]}]),
    ]
    async with open_service(
        tmp_path_factory.mktemp("written"),
        dynamodb_local,
        catalog,
        keys,
        cache_quarantine=_QUARANTINE,
        cache_index_quarantine=_QUARANTINE,
    ) as running:
        yield running


def of_user(user: str) -> QuerySpec:
    """Return a query of a user's events."""
    return query_spec("events", "user_id = :u", parameters={"u": user})


def of_system(system: str) -> QuerySpec:
    """Return a query of a system's events, which an index holds."""
    return query_spec("events", "system_id = :s", parameters={"s": system})


async def is_cached(service: Service, spec: QuerySpec) -> bool:
    """Return whether a query's first page is cached."""
    try:
        await service.query(spec, cache=_ONLY_IF_CACHED)
    except grpc.aio.AioRpcError:
        return False
    return True


@pytest.mark.parametrize("whole", [True, False], ids=["table", "partition"])
async def test_writes_are_seen_after_an_invalidation(
    written: Service, tables: tuple[str, str, Put], whole: bool
) -> None:
    """Pages of the table and of an index are cached until then, and fresh afterwards."""
    user, system = f"user-{whole}", f"system-{whole}"
    _, _, put = tables
    put(user, 1, system_id={"S": system})
    specs = (of_user(user), of_system(system))
    for spec in specs:
        assert numbers((await written.query(spec)).items, "at") == [1]
    put(user, 2, system_id={"S": system})
    for spec in specs:
        assert numbers((await written.query(spec)).items, "at") == [1]
    if whole:
        await written.invalidate("events")
    else:
        await written.invalidate("events", user_id=user, system_id=system)
    for spec in specs:
        page = await written.query(spec)
        assert (status(page), numbers(page.items, "at")) == ("MISS", [1, 2])

    for spec in specs:
        await eventually(partial(_kept, written, spec))


async def test_all_names_of_a_table_are_invalidated(
    written: Service, tables: tuple[str, str, Put]
) -> None:
    """Catalog names make no difference; other partitions stay cached."""
    _, _, put = tables
    put("named", 1)
    put("spared", 1)
    spared = of_user("spared")
    other = query_spec("scannable", "user_id = :u", parameters={"u": "named"})
    for spec in (spared, other):
        await eventually(partial(_kept, written, spec))
    await written.invalidate("events", user_id="named")
    assert not await is_cached(written, other)
    assert await is_cached(written, spared)


async def _kept(service: Service, spec: QuerySpec) -> bool:
    await service.query(spec)
    return await is_cached(service, spec)


async def test_a_read_under_way_is_not_kept(written: Service, tables: tuple[str, str, Put]) -> None:
    """A page that was read before the invalidation is not cached after it."""
    _, _, put = tables
    put("racer", 1)
    spec = of_user("racer")
    for wait in range(20):
        reads = [asyncio.ensure_future(written.query(spec)) for _ in range(5)]
        await asyncio.sleep(wait * 0.001)
        await written.invalidate("events", user_id="racer")
        await asyncio.gather(*reads)
        assert not await is_cached(written, spec)


async def test_partitions_are_named_by_fields_and_times(written: Service) -> None:
    """A composed key is given by its fields or as it is stored, a time in RFC 3339."""
    by_user = query_spec("composed", "user_id = :u", parameters={"u": "a"})
    by_day = query_spec(
        "composed", "day = :d", parameters={"d": "2026-01-01T00:00:00Z"}, index="by_day"
    )
    for partition, spec in (
        ({"user_id": "a"}, by_user),
        ({"PK": "USER#a"}, by_user),
        ({"day": "2026-01-01T00:00:00Z"}, by_day),
    ):
        await eventually(partial(_kept, written, spec))
        await written.invalidate("composed", **partition)
        assert not await is_cached(written, spec)


@pytest.mark.parametrize(
    ("table", "partition", "field", "text"),
    [
        (
            "events",
            {"at": 3},
            "partition_key",
            "at fixes no partition; partition keys are: ",
        ),
        ("events", {"user_id": "u", "x": "y"}, "partition_key", "x fixes no partition"),
        ("events", {"user_id": 3}, "partition_key.user_id", "is a string key, not a number"),
        ("events", {"user_id": ""}, "partition_key.user_id", "is a key of 1 to 2048 bytes"),
        ("events", {"user_id": AttributeValue()}, "partition_key.user_id", "no value is set"),
        ("composed", {"day": "soon"}, "partition_key.day", "RFC 3339"),
        ("composed", {"user_id": ""}, "partition_key.user_id", "never empty"),
    ],
)
async def test_a_request_without_a_partition_is_refused(
    written: Service, table: str, partition: dict[str, Any], field: str, text: str
) -> None:
    """Nothing is invalidated in part; the error names the attribute."""
    refusal = await refused(written.invalidate(table, **partition))
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert text in refusal.descriptions[field]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (InvalidateCacheRequest(), "table"),
        (InvalidateCacheRequest(table="events"), "scope"),
        (InvalidateCacheRequest(table="events", partition_key=Item()), "partition_key"),
    ],
)
async def test_an_incomplete_request_is_refused(
    written: Service, request_: InvalidateCacheRequest, field: str
) -> None:
    """A scope is required: a client of a newer contract must not invalidate too little."""
    call = written.cache.InvalidateCache(request_, metadata=written.metadata(), timeout=PATIENCE)
    assert (await refused(call)).fields == [field]


async def test_an_invalidation_needs_a_grant(written: Service) -> None:
    """Admins may invalidate the tables and attributes that are granted to them."""
    for key, table in (("reader", "events"), ("few", "events"), ("few", "unheard-of")):
        refusal = await refused(written.invalidate(table, key=key))
        assert refusal.code is grpc.StatusCode.PERMISSION_DENIED
    assert (await refused(written.invalidate("unheard-of"))).code is grpc.StatusCode.NOT_FOUND
    await written.invalidate("events", key="part", user_id="u")
    refusal = await refused(written.invalidate("events", key="part", system_id="s"))
    assert refusal.descriptions["partition_key"] == (
        "system_id fixes no partition; partition keys are: user_id"
    )
    request = GetCacheStatsRequest()
    call = written.cache.GetCacheStats(
        request, metadata=written.metadata("reader"), timeout=PATIENCE
    )
    assert (await refused(call)).code is grpc.StatusCode.PERMISSION_DENIED
    whole = InvalidateCacheRequest(table="events", whole_table=WholeTable())
    assert (await refused(written.cache.InvalidateCache(whole, timeout=PATIENCE))).code is (
        grpc.StatusCode.UNAUTHENTICATED
    )


async def test_indexes_hidden_from_an_admin_are_invalidated(
    written: Service, tables: tuple[str, str, Put]
) -> None:
    """The sort key is hidden from the admin, and other callers' cached pages end."""
    _, _, put = tables
    put("unseen", 1, system_id={"S": "unseen"})
    spec = of_system("unseen")
    await eventually(partial(_kept, written, spec))
    await written.invalidate("events", key="systems", system_id="unseen")
    assert not await is_cached(written, spec)


@pytest.mark.parametrize("projection", [[], ["SK"]])
async def test_nothing_is_cached_past_its_time_to_live(
    written: Service, projection: list[str]
) -> None:
    """The first item to expire bounds the lifetime, even if its time is not projected."""
    spec = query_spec(
        "composed", "user_id = :u", parameters={"u": "b"}, projection=projection, max_items=9
    )
    await eventually(partial(_kept, written, spec))
    page = await written.query(spec)
    assert len(page.items) == 2
    assert "gone_at" not in page.items[0].attributes or not projection
    assert 0 < page.cache.expires_in.ToSeconds() <= 100


async def test_cache_statistics(written: Service, tables: tuple[str, str, Put]) -> None:
    """They count events, and show only the caller's tables."""

    async def stats(key: str) -> GetCacheStatsResponse:
        return await written.cache.GetCacheStats(
            GetCacheStatsRequest(), metadata=written.metadata(key), timeout=PATIENCE
        )

    _, _, put = tables
    put("counted", 1)
    before = (await stats("both")).total
    await eventually(lambda: _kept(written, of_user("counted")))
    after = await stats("both")
    assert after.max_bytes == 256 * 1024 * 1024
    assert after.total.entries == before.entries + 1
    assert after.total.bytes > before.bytes
    assert after.total.hits > before.hits
    assert after.total.misses > before.misses
    names = [entry.table for entry in after.tables]
    assert "events" in names
    assert names == sorted(names)
    sums = CacheStats(
        entries=sum(entry.stats.entries for entry in after.tables),
        bytes=sum(entry.stats.bytes for entry in after.tables),
        hits=sum(entry.stats.hits for entry in after.tables),
        misses=sum(entry.stats.misses for entry in after.tables),
    )
    assert sums == after.total
    few = await stats("few")
    assert [entry.table for entry in few.tables] == ["composed"]
    assert few.total == few.tables[0].stats
