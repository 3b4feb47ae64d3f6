"""Tests that an item too large for a message is named in an error with a token to continue."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import FailedPrecondition, Query, QueryClient
from dynamodb_processor_client.streams import PageStream
from tests.rpc.logged import Logged
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import (
    Key,
    Refusal,
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refusal_of,
    refused,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

_LARGE: Final = (2, 6)  # of the items from 0 to 6


@pytest.fixture(scope="module")
def key() -> Key:
    """A key that may read everything."""
    return make_key("tester")


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Iterator[str]:
    """A table of seven items, two of which have 350 KB."""
    name = f"rpc-too-large-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "id", "at", (), {"id": "S", "at": "N"}))
    for at in range(7):
        data = "x" * (350_000 if at in _LARGE else 100)
        item = {"id": {"S": "a"}, "at": {"N": str(at)}, "data": {"S": data}}
        put_items(client, name, [item])
    yield name
    client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, table: str, key: Key
) -> AsyncIterator[Service]:
    """A server that sends items of up to 300 KB; one name of the table shows no whole key."""
    narrow = make_key("narrow", tables=[{"table": "items", "attributes": ["id", "data"]}])
    catalog = {"tables": {"items": {"table": table}}}
    directory = tmp_path_factory.mktemp("large")
    async with open_service(
        directory, dynamodb_local, catalog, [key, narrow], max_item_bytes=300_000
    ) as running:
        yield running


SPEC: Final = query_spec("items", "id = 'a'")


async def query_refused(service: Service, **fields: Any) -> Refusal:
    """Return the refusal of a query."""
    return await refused(service.query(SPEC, **fields))


def token_of(refusal: Refusal) -> str:
    """Return the token of an error."""
    metadata: dict[str, str] = dict(refusal.details["ErrorInfo"].metadata)
    return metadata.get("next_page_token", "")


async def test_the_pages_around_a_large_item_are_read(service: Service, logged: Logged) -> None:
    """The item's error has its key; the items around it are read; the log has the real status."""
    page = await service.query(SPEC)
    assert numbers(page.items, "at") == [0, 1]
    assert page.end == 7  # RESPONSE_BYTES
    refusal = await query_refused(service, page_token=page.next_page_token)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == "ITEM_TOO_LARGE"
    assert "id = 'a' AND at = 2" in refusal.message
    assert "projection" in refusal.message
    (violation,) = refusal.details["PreconditionFailure"].violations
    assert (violation.type, violation.subject) == ("ITEM_TOO_LARGE", "id = 'a' AND at = 2")
    records = await eventually(
        lambda: [r for r in logged.of("call") if r["status"] == "FAILED_PRECONDITION"]
    )
    assert records[0]["reason"] == "ITEM_TOO_LARGE"
    page = await service.query(SPEC, page_token=token_of(refusal))
    assert numbers(page.items, "at") == [3, 4, 5]
    refusal = await query_refused(service, page_token=page.next_page_token)
    assert "at = 6" in refusal.message


async def test_a_stream_ends_before_a_large_item(service: Service, key: Key) -> None:
    """The items before it are sent, then the error with the token, also in the Python client."""
    async with QueryClient(service.app.address, api_key=key.text) as client:
        pages = client.pages(Query("items", "id = :i", i="a"))
        seen: list[int] = []
        with pytest.raises(FailedPrecondition) as caught:
            await _read_into(seen, pages)
    assert seen == [0, 1]
    error = caught.value
    assert (error.reason, bool(error.next_page_token)) == ("ITEM_TOO_LARGE", True)
    call = service.stream(query_spec("items", "id = 'a'", parameters={}), page_size=2)
    first: Any = await call.read()
    assert numbers(first.items, "at") == [0, 1]
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call.read()
    rest = service.stream(SPEC, resume_token=token_of(refusal_of(raised.value)))
    message: Any = await rest.read()
    assert numbers(message.items, "at") == [3, 4, 5]
    rest.cancel()


async def _read_into(seen: list[int], pages: PageStream) -> None:
    async for page in pages:
        seen += [int(item["at"]) for item in page.items]


async def test_a_projection_reads_it(service: Service) -> None:
    """The error recommends a projection."""
    page = await service.query(query_spec("items", "id = 'a'", projection=["at"]))
    assert numbers(page.items, "at") == list(range(7))


async def test_a_batch_names_it_when_nothing_else_is_left(service: Service) -> None:
    """Until then its key is deferred."""
    keys = [
        Item(attributes={"id": AttributeValue(s="a"), "at": AttributeValue(n=str(at))})
        for at in range(7)
    ]
    answer = await service.get("items", keys)
    kinds = [result.WhichOneof("result") for result in answer.results]
    assert [at for at, kind in enumerate(kinds) if kind == "deferred_key"] == list(_LARGE)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.get("items", [keys[at] for at in _LARGE])
    refusal = refusal_of(caught.value)
    assert refusal.reason == "ITEM_TOO_LARGE"
    assert "id = 'a' AND at = 2" in refusal.message


async def test_a_key_that_is_not_granted_is_not_named(service: Service) -> None:
    """The error has only the visible part of the key."""
    page = await service.query(SPEC, key="narrow")
    refusal = await query_refused(service, key="narrow", page_token=page.next_page_token)
    assert "id = 'a' has" in refusal.message
    assert "at =" not in refusal.message
    behind = await service.query(SPEC, key="narrow", page_token=token_of(refusal))
    assert len(behind.items) == 3
