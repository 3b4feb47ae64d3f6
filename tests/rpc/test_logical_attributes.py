"""Tests a single-table design, queried by its logical attributes in every RPC."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.messages import from_item
from tests.support.running import Service, open_service, query_spec, refusal_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR: Final = 3600
TIMES: Final = tuple(f"2026-01-0{day}T08:00:00Z" for day in range(1, 6))


def row(at: str, event: str, expires_in: int | None = None) -> dict[str, Any]:
    """Return the stored form of one event of the user u1."""
    key = {"S": f"{at}#{event}"}
    item = {"PK": {"S": "USER#u1"}, "SK": key, "GS_PK": {"S": "SYSTEM#crm"}, "GS_SK": key}
    seen = {"seen": {"N": "1767225600"}}
    if expires_in is None:
        return item | seen
    return item | seen | {"gone_at": {"N": str(int(time.time()) + expires_in)}}


def shown(at: str, event: str) -> dict[str, Any]:
    """Return a caller's view of the event, without its time to live."""
    texts = {"user_id": "u1", "system_id": "crm", "occurred_at": at, "event_id": event}
    seen = {"seen": {"S": "2026-01-01T00:00:00Z"}}
    return {name: {"S": text} for name, text in texts.items()} | seen


def key(user: str = "u1", at: str = TIMES[0], event: str = "e0", **more: str) -> Item:
    """Return a primary key, given by its fields."""
    said = {"user_id": user, "occurred_at": at, "event_id": event, **more}
    return Item(attributes={name: AttributeValue(s=text) for name, text in said.items()})


@pytest.fixture(scope="module")
def activity(dynamodb_local: str) -> Iterator[str]:
    """A table of five events of one user, an item of another kind, and expired items."""
    table = f"rpc-activity-{uuid.uuid4().hex[:8]}"
    schema = Schema(
        table, "PK", "SK", (Index("by_system", False, ("GS_PK",), ("GS_SK",), "KEYS_ONLY"),),
        {"PK": "S", "SK": "S", "GS_PK": "S", "GS_SK": "S"},
    )  # fmt: skip
    client = open_client(dynamodb_local)
    create_table(client, schema)
    put_items(client, table, [row(at, f"e{n}") for n, at in enumerate(TIMES)])
    profile = {"PK": {"S": "USER#u1"}, "SK": {"S": "PROFILE"}, "name": {"S": "Ulrike"}}
    ages = {"gone": -HOUR, "staying": HOUR, "ancient": -6 * 365 * 24 * HOUR}
    put_items(client, table, [profile, *(row(TIMES[4], e, age) for e, age in ages.items())])
    yield table
    client.delete_table(TableName=table)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, activity: str
) -> AsyncIterator[Service]:
    """A server of the table, which hides expired items or, as `all`, shows them."""
    moment = "{occurred_at}#{event_id}"
    entry = {
        "table": activity,
        "keys": {
            "PK": "USER#{user_id}", "SK": moment, "GS_PK": "SYSTEM#{system_id}", "GS_SK": moment,
        },
        "timestamps": {"occurred_at": "iso8601", "seen": "epoch_seconds"},
        "expose_keys": False,
        "sparse": "allow",
        "time_to_live": "gone_at",
    }  # fmt: skip
    tables = {"activity": {**entry, "hide_expired": True}, "all": entry}
    directory = tmp_path_factory.mktemp("logical")
    async with open_service(directory, dynamodb_local, {"tables": tables}) as running:
        yield running


def events_of(items: Any) -> list[str]:
    """Return the events' ids; empty for other items."""
    return [from_item(item).get("event_id", {"S": ""})["S"] for item in items]


async def test_items_are_as_callers_know_them(service: Service) -> None:
    """Items have fields and times but no stored key, for any order, page size and path."""
    for condition in ("user_id = 'u1'", "system_id = 'crm'"):
        spec = query_spec("activity", f"{condition} AND occurred_at <= '2026-01-04T09:00:00+01:00'")
        page = await service.query(spec, page_size=3)
        rest = await service.query(spec, page_size=3, page_token=page.next_page_token)
        found = [from_item(item) for item in (*page.items, *rest.items)]
        assert found == [shown(at, f"e{n}") for n, at in enumerate(TIMES[:4])]
        assert page.stats.index_used == ("by_system" if "system" in condition else "")


async def test_items_of_other_kinds_are_there_too(service: Service) -> None:
    """They are found if the query needs no attribute that they lack."""
    items = (await service.query(query_spec("activity", "user_id = 'u1'"))).items
    assert events_of(items) == ["e0", "e1", "e2", "e3", "ancient", "e4", "staying", ""]
    assert from_item(items[-1]) == {"user_id": {"S": "u1"}, "name": {"S": "Ulrike"}}


@pytest.mark.parametrize("condition", ["user_id = 'u1'", "system_id = 'crm'"])
async def test_expired_items_are_hidden_in_every_call(service: Service, condition: str) -> None:
    """DynamoDB returns them for days; they are shown if the catalog does not hide them."""
    condition += " AND occurred_at >= '2026-01-05'"
    spec, whole = query_spec("activity", condition), query_spec("all", condition)
    left = ["ancient", "e4", "staying"]
    assert events_of((await service.query(spec)).items) == left
    assert [e for m in await service.messages(spec) for e in events_of(m.items)] == left
    assert (await service.count(spec)).total.value == 3
    assert events_of((await service.query(whole)).items) == ["ancient", "e4", "gone", "staying"]
    assert (await service.count(whole)).total.value == 4


async def test_keys_are_given_by_their_fields(service: Service) -> None:
    """Results have the order of the request; expired items are missing; times have any spelling."""
    keys = [
        key(at="2026-01-02T09:00:00+01:00", event="e1"),
        key(at=TIMES[4], event="gone"),
        key("nobody"),
        key(),
        key(at=TIMES[4], event="staying"),
    ]
    answer = await service.get("activity", keys)
    kinds = [result.WhichOneof("result") for result in answer.results]
    assert kinds == ["item", "missing_key", "missing_key", "item", "item"]
    assert from_item(answer.results[0].item) == shown(TIMES[1], "e1")
    assert [answer.results[index].missing_key for index in (1, 2)] == keys[1:3]
    whole = await service.get("all", keys[1:2], projection=["event_id"])
    assert from_item(whole.results[0].item) == {"event_id": {"S": "gone"}}


@pytest.mark.parametrize(
    ("bad", "field", "words"),
    [
        (key(PK="USER#u1"), "keys[0]", "PK is not part of the key, which is event_id, occ"),
        (Item(attributes={"PK": AttributeValue(s="x")}), "keys[0]", "user_id is missing"),
        (key(at="yesterday"), "keys[0].occurred_at", "is no RFC 3339 time"),
        (key(at="2026-01-01T08:00:00.5Z"), "keys[0].occurred_at", "is more exact than the times"),
        (key(user=""), "keys[0].user_id", "is part of a key and never empty"),
        (key(user="u" * 2_044), "keys[0]", "is a key of 1 to 2048 bytes"),
    ],
)
async def test_invalid_keys_are_named_by_their_fields(
    service: Service, bad: Item, field: str, words: str
) -> None:
    """The stored keys are never named."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.get("activity", [bad])
    found = refusal_of(caught.value)
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert set(found.fields) == {field}
    assert words in found.message


async def test_a_field_is_a_string_in_keys(service: Service) -> None:
    """It is a string even if it looks like another type."""
    bad = key()
    bad.attributes["event_id"].n = "5"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.get("activity", [bad])
    assert refusal_of(caught.value).descriptions == {
        "keys[0].event_id": "is a string, not a number"
    }


async def test_hidden_keys_are_unknown(service: Service) -> None:
    """Conditions and projections treat them as attributes that no item has, without a read."""
    for spec in (
        query_spec("activity", "PK = 'USER#u1'"),
        query_spec("activity", "user_id = 'u1'", projection=["SK"]),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(spec)
        assert "activity has no " in refusal_of(caught.value).message
