"""Tests of `BatchGetItems`: one result for each key, in the order of the request."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_BYPASS,
    CONSISTENCY_STRONG,
    Budget,
    CachePolicy,
)
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    GetResult,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.rpc.data import ULRIKE, VIKTOR, event, events_catalog
from tests.rpc.logged import Logged
from tests.rpc.violating import refusal
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.messages import from_item
from tests.support.running import Service, eventually, make_key, open_service, refusal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode
_BYPASS: Final = CachePolicy(mode=CACHE_MODE_BYPASS)


def key(user: str, at: Any) -> Item:
    """Return a primary key."""
    return Item(attributes={"user_id": AttributeValue(s=user), "at": AttributeValue(n=str(at))})


def kinds(answer: BatchGetItemsResponse) -> list[str | None]:
    """Return the kind of each key's result."""
    return [result.WhichOneof("result") for result in answer.results]


def when(result: GetResult) -> int:
    """Return the time of an item or a key."""
    item = getattr(result, str(result.WhichOneof("result")))
    return int(item.attributes["at"].n)


@pytest.fixture(scope="module")
def parcels(dynamodb_local: str) -> Iterator[str]:
    """A table of ten items of 200 KB, and one that is 600 KB on the wire."""
    table = f"rpc-parcels-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(table, "id", None, (), {"id": "S"}))
    numbers = {"L": [{"N": "1"}] * 120_000}
    put_items(client, table, [{"id": {"S": "large"}, "data": numbers}])
    for number in range(10):
        item = {"id": {"S": f"p-{number}"}, "data": {"S": "x" * 200_000}}
        put_items(client, table, [item])
    yield table
    client.delete_table(TableName=table)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def small(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, parcels: str
) -> AsyncIterator[Service]:
    """A server whose responses hold half a megabyte of items."""
    directory = tmp_path_factory.mktemp("small")
    catalog = {"tables": {"parcels": {"table": parcels}}}
    async with open_service(directory, dynamodb_local, catalog, max_page_bytes=500_000) as service:
        yield service


def parcel(name: str) -> Item:
    """Return the key of a parcel."""
    return Item(attributes={"id": AttributeValue(s=name)})


async def test_results_come_in_the_order_of_the_keys(service: Service) -> None:
    """DynamoDB answers in any order; items are complete."""
    indexes = [250, 3, 117, 1, 42]
    answer = await service.get("events", [key(ULRIKE, index) for index in indexes])
    assert kinds(answer) == ["item"] * 5
    assert [from_item(result.item) for result in answer.results] == [
        event(ULRIKE, index) for index in indexes
    ]


async def test_the_response_has_its_cost(service: Service) -> None:
    """It has the found items, one request to DynamoDB, its cost, and the read time."""
    keys = [key(VIKTOR, 1), key(VIKTOR, 77), key(VIKTOR, 2), key(VIKTOR, 1)]
    answer = await service.get("events", keys)
    stats = answer.stats
    assert (stats.items_returned, stats.items_scanned, stats.backend_calls) == (3, 2, 1)
    assert stats.read_units > 0
    assert stats.index_used == ""
    assert stats.backend_time.ToNanoseconds() > 0
    assert abs(answer.read_time.ToSeconds() - time.time()) < 60


async def test_a_key_may_come_twice(service: Service) -> None:
    """DynamoDB refuses that; `1` and `1.0` are one key, which is returned as it was requested."""
    texts = ["2", "1", "2.0", "1E0", "1"]
    answer = await service.get("events", [key(VIKTOR, text) for text in texts])
    assert kinds(answer) == ["item"] * 5
    assert list(map(when, answer.results)) == [2, 1, 2, 1, 1]
    missing = await service.get("events", [key(VIKTOR, "99"), key(VIKTOR, "9.90E1")])
    assert kinds(missing) == ["missing_key"] * 2
    assert [r.missing_key.attributes["at"].n for r in missing.results] == ["99", "9.90E1"]


async def test_missing_items_are_reported_with_their_keys(service: Service) -> None:
    """Missing keys are returned among the found items."""
    keys = [key("nobody", 1), key(VIKTOR, 5), key(VIKTOR, 6)]
    answer = await service.get("events", keys)
    assert kinds(answer) == ["missing_key", "item", "missing_key"]
    assert [answer.results[index].missing_key for index in (0, 2)] == [keys[0], keys[2]]


async def test_a_hundred_keys_are_one_request(service: Service) -> None:
    """DynamoDB's limit is the contract's limit."""
    keys = [key(ULRIKE, index) for index in range(100, 0, -1)]
    answer = await service.get("events", keys)
    assert list(map(when, answer.results)) == list(range(100, 0, -1))
    assert answer.stats.backend_calls == 1


async def test_a_projection_picks_paths(service: Service) -> None:
    """The result has the requested paths only; the key is there only if it was requested."""
    projection = ["at", "address.lines[1]", '"address".city', "nothing"]
    answer = await service.get("events", [key(VIKTOR, 2)], projection=projection)
    item = answer.results[0].item
    assert item.attributes.keys() == {"at", "address"}
    address = item.attributes["address"].m.fields
    assert address["city"].s == "Lund"
    assert [element.s for element in address["lines"].l.values] == ["b"]
    empty = await service.get("events", [key(VIKTOR, 2)], projection=["nothing"])
    assert kinds(empty) == ["item"]
    assert not empty.results[0].item.attributes


async def test_only_visible_attributes_come(service: Service) -> None:
    """If the catalog lists attributes, the others are left out as if they did not exist."""
    answer = await service.get("narrow", [key(VIKTOR, 2)], key="narrow")
    assert answer.results[0].item.attributes.keys() == {"user_id", "at", "level"}


async def test_a_consistent_get_costs_twice(service: Service) -> None:
    """Consistent reads cost twice in every call."""
    keys = [key(ULRIKE, index) for index in range(1, 11)]
    eventual = await service.get("events", keys, cache=_BYPASS)
    strong = await service.get("events", keys, consistency=CONSISTENCY_STRONG)
    assert strong.stats.read_units == 2 * eventual.stats.read_units
    assert strong.results == eventual.results


async def test_items_that_find_no_room_are_deferred(small: Service) -> None:
    """Repeated requests get all of them; missing items take no space."""
    names = [f"p-{number}" for number in range(10)]
    pending = [parcel("missing"), *map(parcel, names)]
    found: list[str] = []
    calls = 0
    while pending:
        calls += 1
        answer = await small.get("parcels", pending)
        assert len(answer.results) == len(pending)
        items = [r.item for r in answer.results if r.WhichOneof("result") == "item"]
        found += [item.attributes["id"].s for item in items]
        assert sum(item.ByteSize() for item in items) <= 500_000
        assert answer.stats.items_returned == len(items) > 0
        pending = [
            r.deferred_key for r in answer.results if r.WhichOneof("result") == "deferred_key"
        ]
    assert sorted(found) == names
    assert calls == 5  # two at a time


async def test_one_large_item_always_has_room(small: Service) -> None:
    """Otherwise it could never be read; the items around it may be deferred."""
    wanted = [parcel("missing"), parcel("large"), parcel("p-1")]
    answer = await small.get("parcels", wanted, cache=_BYPASS)
    assert kinds(answer) == ["missing_key", "item", "deferred_key"]
    assert answer.results[1].ByteSize() > 500_000
    wanted = [parcel("p-1"), parcel("large"), parcel("p-2")]
    answer = await small.get("parcels", wanted, cache=_BYPASS)
    assert kinds(answer) == ["item", "deferred_key", "item"]


@pytest.mark.parametrize(
    "budget", [Budget(max_read_units=0.01), Budget(max_duration=Duration(nanos=1))]
)
async def test_a_small_budget_gets_one_request(service: Service, budget: Budget) -> None:
    """The last request may exceed the budget; each call makes progress."""
    answer = await service.get("events", [key(VIKTOR, index) for index in (1, 2, 9)], budget=budget)
    assert kinds(answer) == ["item", "item", "missing_key"]


def with_key(**attributes: AttributeValue) -> dict[str, Any]:
    """Return the keys of a request with one valid key and another one."""
    return {"keys": [key(VIKTOR, 1), Item(attributes=attributes)]}


_S: Final = AttributeValue(s="x")
_N: Final = AttributeValue(n="1")
_BAD: Final[dict[str, tuple[dict[str, Any], str, str]]] = {
    "no table": ({"table": ""}, "table", "is required"),
    "no keys": ({"keys": []}, "keys", "1 to 100 keys, not 0"),
    "too many keys": (
        {"keys": [key(ULRIKE, n) for n in range(101)]}, "keys", "1 to 100 keys, not 101"
    ),
    "empty key": ({"keys": [Item()]}, "keys[0]", "is missing; the key is at, user_id"),
    "no sort key": (with_key(user_id=_S), "keys[1]", "at is missing; the key is at, user_id"),
    "more than the key": (
        with_key(user_id=_S, at=_N, level=_N), "keys[1]",
        "level is not part of the key, which is at, user_id",
    ),
    "wrong type": (with_key(user_id=_S, at=_S), "keys[1].at", "is a number key, not a string"),
    "no value": (
        with_key(user_id=_S, at=AttributeValue()), "keys[1].at", "no value is set"
    ),
    "no number": (
        with_key(user_id=_S, at=AttributeValue(n="one")), "keys[1].at", "not a number"
    ),
    "39 digits": (
        with_key(user_id=_S, at=AttributeValue(n="1" * 39)), "keys[1].at", "38 significant digits"
    ),
    "empty string": (
        with_key(user_id=AttributeValue(s=""), at=_N), "keys[1].user_id", "1 to 2048 bytes"
    ),
    "long string": (
        with_key(user_id=AttributeValue(s="x" * 2_049), at=_N), "keys[1].user_id",
        "1 to 2048 bytes",
    ),
    "consistency": ({"consistency": 9}, "consistency", "9 is not a value"),
    "projection": ({"projection": ["at", "a..b"]}, "projection[1]", "column"),
    "overlap": ({"projection": ["address", "address.city"]}, "projection", "overlaps"),
    "members of a key": (
        {"projection": ["note", "at.x"]}, "projection[1]", "at is a key attribute, has no members"
    ),
    "members of an index key": (
        {"projection": ["system_id.x"]}, "projection[0]", "system_id is a key attribute"
    ),
    "not shown": (
        {"table": "narrow", "projection": ["at", "note"]}, "projection[1]", "narrow has no note"
    ),
    "scan budget": (
        {"budget": {"max_scanned_items": 5}}, "budget.max_scanned_items", "is not for gets"
    ),
    "budget": ({"budget": {"max_read_units": -1}}, "budget.max_read_units", "more than 0"),
}  # fmt: skip


@pytest.mark.parametrize("row", _BAD.values(), ids=_BAD)
async def test_a_bad_batch_is_refused_with_its_field(
    service: Service, row: tuple[dict[str, Any], str, str]
) -> None:
    """The violation has the field's path and the expected form, before any read."""
    fields, field, words = row
    request = BatchGetItemsRequest(**({"table": "events", "keys": [key(VIKTOR, 1)]} | fields))
    found = await refusal(service, request)
    assert set(found.fields) == {field}
    assert any(words in violation for violation in found.message.split("; " + field))


async def test_all_violations_of_a_batch_are_reported_at_once(service: Service) -> None:
    """The violations of every key are included."""
    request = BatchGetItemsRequest(
        table="events",
        keys=[Item(attributes={"at": _S}), key(VIKTOR, 1), Item(attributes={"user_id": _N})],
        projection=["a..b"],
    )
    found = await refusal(service, request)
    assert found.fields == [
        "projection[0]", "keys[0]", "keys[0].at", "keys[2]", "keys[2].user_id"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("table", "caller", "code"),
    [
        ("events", "narrow", Code.PERMISSION_DENIED),
        ("no-such", "narrow", Code.PERMISSION_DENIED),
        ("no-such", "reports", Code.NOT_FOUND),
    ],
)
async def test_permission_comes_before_existence(
    service: Service, table: str, caller: str, code: Code
) -> None:
    """Permission is also checked before any other violation."""
    keys = [key(VIKTOR, 1)] * (101 if code is Code.PERMISSION_DENIED else 1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.get(table, keys, key=caller)
    assert refusal_of(caught.value).code is code


async def test_a_batch_has_one_line_in_the_access_log(service: Service, logged: Logged) -> None:
    """The line has the number of returned items and the cost."""
    keys = [key(VIKTOR, 1), key(VIKTOR, 9), key(VIKTOR, 1)]
    answer = await service.get("events", keys, cache=_BYPASS)
    (record,) = await eventually(lambda: logged.of("call"))
    assert record["method"].endswith("/BatchGetItems")
    assert (record["table"], record["items"], record["messages"]) == ("events", 2, 1)
    assert record["cache"] == "BYPASSED"
    assert record["read_units"] == answer.stats.read_units > 0


async def test_a_backend_out_of_reach_is_unavailable(tmp_path: Any, events: str) -> None:
    """The status is the same as for queries."""
    catalog = events_catalog(events)
    async with open_service(
        tmp_path, "http://127.0.0.1:1", catalog, [make_key("tester")], backend_attempts=1
    ) as service:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.get("events", [key(VIKTOR, 1)])
    assert refusal_of(caught.value).code is Code.UNAVAILABLE
