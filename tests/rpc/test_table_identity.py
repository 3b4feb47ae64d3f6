"""Tests that endpoint, region and creation identify a table, not its configuration."""

from __future__ import annotations

import base64
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest
from dynamodb_processor.v1.query_pb2 import (
    CACHE_MODE_ONLY_IF_CACHED,
    CACHE_MODE_REFRESH,
    CACHE_STATUS_HIT,
    CACHE_STATUS_MISS,
    CACHE_STATUS_SHARED_HIT,
    CachePolicy,
    QuerySpec,
)
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.faults.stub import open_stub
from tests.rpc.logged import Logged
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.redis_server import RedisServer
from tests.support.running import (
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refusal_of,
)

Code = grpc.StatusCode
_SPEC: Final = query_spec("events", "owner = 'ulrike'")


def _schema(name: str, kind: str = "S", *indexes: Index) -> Schema:
    types = {"owner": kind, "at": "N"} | {a: "S" for index in indexes for a in index.partition}
    return Schema(name, "owner", "at", indexes, types)


def _items(first: int, last: int, **owner: str) -> list[dict[str, Any]]:
    return [
        {"owner": owner or {"S": "ulrike"}, "at": {"N": str(at)}, "kind": {"S": "login"}}
        for at in range(first, last + 1)
    ]


@pytest.fixture(scope="module")
def client(dynamodb_local: str) -> Iterator[Any]:
    """A client of DynamoDB Local."""
    client = open_client(dynamodb_local)
    yield client
    client.close()


@pytest.fixture
def table(client: Any) -> Iterator[str]:
    """The name of a table of five events."""
    name = f"identity-{uuid.uuid4().hex[:8]}"
    create_table(client, _schema(name))
    put_items(client, name, _items(1, 5))
    yield name
    client.delete_table(TableName=name)


@pytest.fixture
def token_keys(logged: Logged) -> str:
    """Token keys that several replicas have."""
    text = base64.urlsafe_b64encode(os.urandom(32)).decode()
    logged.secrets.add(text)
    return f"shared:{text}"


def _catalog(table: str, **more: Any) -> dict[str, Any]:
    return {"tables": {"events": {"table": table, **more}}}


async def _ats(service: Service, **fields: Any) -> list[int]:
    return numbers((await service.query(_SPEC, **fields)).items, "at")


@pytest.mark.parametrize("difference", ["none", "region", "endpoint", "bounds"])
async def test_fleets_share_only_what_is_of_the_same_table(
    tmp_path: Path,
    dynamodb_local: str,
    redis_server: RedisServer,
    table: str,
    token_keys: str,
    difference: str,
) -> None:
    """With another region or endpoint in effect, neither pages nor tokens are shared.

    With another bound on pages, pages are not shared, but tokens are. One fleet declares the
    region that the other one has by default, which makes no difference.
    """
    key = make_key("tester")
    shared: dict[str, Any] = {
        "token_keys": token_keys,
        "redis_url": redis_server.url,
        "redis_prefix": f"identity-{uuid.uuid4().hex}:",
        "redis_timeout": 1.0,
    }
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stub = await enter(open_stub(dynamodb_local))
        elsewhere = f"http://127.0.0.1:{stub.port}"

        async def fleet(
            directory: str,
            url: str,
            region: str,
            declared_region: str | None,
            *,
            smaller: bool = False,
        ) -> Service:
            (tmp_path / directory).mkdir()
            return await enter(
                open_service(
                    tmp_path / directory,
                    url,
                    _catalog(table, **({"region": declared_region} if declared_region else {})),
                    [key],
                    region=region,
                    max_page_bytes=500_000 if smaller else 3_500_000,
                    **shared,
                )
            )

        first = await fleet("first", dynamodb_local, "eu-west-1", None)
        second = await fleet(
            "second",
            elsewhere if difference == "endpoint" else dynamodb_local,
            {"none": "us-east-1", "region": "eu-north-1"}.get(difference, "eu-west-1"),
            "eu-west-1" if difference == "none" else None,
            smaller=difference == "bounds",
        )
        page = await first.query(_SPEC, page_size=2)
        twin = await fleet("twin", dynamodb_local, "eu-west-1", None)

        async def is_shared() -> bool:
            # Until the first one hears invalidations, nothing that it reads is shared.
            await first.query(_SPEC, page_size=2, cache=CachePolicy(mode=CACHE_MODE_REFRESH))
            policy = CachePolicy(mode=CACHE_MODE_ONLY_IF_CACHED)
            request = QueryRequest(query=_SPEC, page_size=2, cache=policy)
            return await twin.queries.Query(request, metadata=key.metadata).code() is Code.OK

        await eventually(is_shared)
        expected = CACHE_STATUS_SHARED_HIT if difference == "none" else CACHE_STATUS_MISS
        assert (await second.query(_SPEC, page_size=2)).cache.status == expected
        token = page.next_page_token
        if difference in ("none", "bounds"):
            assert await _ats(second, page_size=2, page_token=token) == [3, 4]
            return
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await second.query(_SPEC, page_size=2, page_token=token)
        refusal = refusal_of(caught.value)
        assert (refusal.code, refusal.fields) == (Code.INVALID_ARGUMENT, ["page_token"])


async def test_a_table_that_is_created_anew_is_another_table(
    tmp_path: Path, dynamodb_local: str, client: Any, table: str
) -> None:
    """After the next description, neither pages nor tokens of the deleted table are used."""
    catalog = _catalog(table)
    async with open_service(tmp_path, dynamodb_local, catalog, catalog_refresh=0.1) as service:
        page = await service.query(_SPEC, page_size=3)
        assert await _ats(service) == [1, 2, 3, 4, 5]
        assert (await service.query(_SPEC)).cache.status == CACHE_STATUS_HIT
        client.delete_table(TableName=table)
        create_table(client, _schema(table))
        put_items(client, table, _items(7, 8))

        async def is_of_the_new_one() -> bool:
            return await _ats(service) == [7, 8]

        await eventually(is_of_the_new_one)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(_SPEC, page_size=3, page_token=page.next_page_token)
        assert refusal_of(caught.value).fields == ["page_token"]


async def test_a_stream_does_not_go_on_in_a_table_that_was_created_anew(
    tmp_path: Path, dynamodb_local: str, client: Any, table: str
) -> None:
    """Its cursor belongs to the deleted table."""
    catalog = _catalog(table, cache_ttl=0)
    async with (
        open_stub(dynamodb_local) as stub,
        open_service(
            tmp_path, f"http://127.0.0.1:{stub.port}", catalog, catalog_refresh=0.1
        ) as service,
    ):
        stub.script = lambda number, body: stub.gate.clear()
        stream: Any = service.stream(_SPEC, page_size=2)
        assert numbers((await stream.read()).items, "at") == [1, 2]
        client.delete_table(TableName=table)
        create_table(client, _schema(table, "S", Index("by_kind", False, ("kind",), ("at",))))

        async def is_noticed() -> bool:
            request = GetTableRequest(table="events")
            call = service.catalog.GetTable(request, metadata=service.metadata(), timeout=10)
            return await call.code() is Code.OK and bool((await call).table.indexes)

        await eventually(is_noticed)
        stub.gate.set()
        assert await stream.code() is Code.FAILED_PRECONDITION


def _at(number: int) -> dict[str, AttributeValue]:
    return {"at": AttributeValue(n=str(number))}


_OLD_KEY: Final = Item(attributes={"owner": AttributeValue(s="x"), **_at(2)})
_CALLS: Final[Mapping[str, Callable[[Service, QuerySpec], Awaitable[object]]]] = {
    "Query": lambda service, spec: service.query(spec),
    "StreamQuery": lambda service, spec: service.messages(spec),
    "CountItems": lambda service, spec: service.count(spec),
    "BatchGetItems": lambda service, spec: service.get("events", [_OLD_KEY]),
}
_KEY: Final = Item(attributes={"owner": AttributeValue(n="7"), "at": AttributeValue(n="2")})


@pytest.mark.parametrize("method", ["Query", "StreamQuery", "CountItems", "BatchGetItems"])
async def test_a_key_of_another_type_is_noticed_at_once(
    tmp_path: Path, dynamodb_local: str, client: Any, table: str, method: str
) -> None:
    """After DynamoDB's first refusal, the table is described and the call planned anew."""
    catalog = _catalog(table)
    async with open_service(tmp_path, dynamodb_local, catalog, catalog_refresh=3_600) as service:
        assert await _ats(service) == [1, 2, 3, 4, 5]
        client.delete_table(TableName=table)
        create_table(client, _schema(table, "N"))
        put_items(client, table, _items(1, 3, N="7"))
        spec = query_spec("events", "owner = :o AND at > 1", parameters={"o": "x"})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _CALLS[method](service, spec)
        assert refusal_of(caught.value).code is Code.INVALID_ARGUMENT  # as the key is a number
        assert numbers((await service.query(query_spec("events", "owner = 7"))).items, "at") == [
            1,
            2,
            3,
        ]
        (found,) = (await service.get("events", [_KEY])).results
        assert found.WhichOneof("result") == "item"


async def test_after_an_index_is_deleted_queries_go_by_another_path(
    tmp_path: Path, dynamodb_local: str, client: Any, logged: Logged
) -> None:
    """They do so at once, without a failed call in between."""
    name = f"identity-{uuid.uuid4().hex[:8]}"
    index = Index("by_kind", False, ("kind",), ("at",))
    create_table(client, _schema(name, "S", index))
    put_items(client, name, _items(1, 5))
    catalog = _catalog(name, allow_scan=True, required=["kind"])
    spec = query_spec("events", "kind = 'login'")
    async with open_service(tmp_path, dynamodb_local, catalog, catalog_refresh=3_600) as service:
        first = await service.query(spec, page_size=2)
        assert first.stats.index_used == "by_kind"
        _delete_index(client, name, "by_kind")
        page = await service.query(spec, page_size=4)
        assert page.stats.index_used == ""
        assert len(page.items) == 4
        assert len(await service.messages(spec)) == 1
        # A token is a place on the index, which is no more.
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(spec, page_size=2, page_token=first.next_page_token)
        assert refusal_of(caught.value).reason == "INDEX_GONE"
    client.delete_table(TableName=name)


def _delete_index(client: Any, table: str, index: str) -> None:
    client.update_table(
        TableName=table, GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": index}}]
    )
    while client.describe_table(TableName=table)["Table"].get("GlobalSecondaryIndexes"):
        pass
