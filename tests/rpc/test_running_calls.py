"""Tests of running calls while keys, grants or the catalog change."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import Query, QueryClient
from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.keys_file import KeysFile
from dynamodb_processor_server.rpc.interceptors.authentication import (
    ApiKeyAuthenticator,
    Authentication,
)
from tests.faults.stub import Ask, Reply, open_stub, reply_with
from tests.rpc.hooked import Context, hooked
from tests.rpc.logged import Logged
from tests.rpc.running_calls import (
    OF_ULRIKE,
    RunningService,
    catalog_of,
    remaining,
    with_grants,
)
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import (
    Key,
    Service,
    eventually,
    make_key,
    numbers,
    open_service,
    query_spec,
    refusal_of,
    write_catalog,
)

Code = grpc.StatusCode

_COUNT: Final = 30
_RULE: Final = "owner = 'ulrike'"


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Iterator[str]:
    """The name of a table of events."""
    name = f"running-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    types = {"owner": "S", "at": "N", "kind": "S"}
    index = Index("by_kind", False, ("kind",), ("at",), "KEYS_ONLY")
    create_table(client, Schema(name, "owner", "at", (index,), types))
    put_items(
        client,
        name,
        (
            {
                "owner": {"S": "ulrike"},
                "at": {"N": str(at)},
                "kind": {"S": "login"},
                "note": {"S": "a remark"},
            }
            for at in range(1, _COUNT + 1)
        ),
    )
    yield name
    client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture
async def running(
    tmp_path: Path, dynamodb_local: str, table: str, logged: Logged
) -> AsyncIterator[RunningService]:
    """A service of the table."""
    reader = make_key("reader")
    async with open_stub(dynamodb_local) as stub:
        url = f"http://127.0.0.1:{stub.port}"
        catalog = catalog_of(table, required=["kind"])
        async with open_service(tmp_path, url, catalog, [reader], stream_interval=600.0) as service:
            yield RunningService(service, stub, logged, table, reader)


def _elsewhere(key: Key) -> Key:
    return with_grants(key, "other")


def _without_role(key: Key) -> Key:
    return with_grants(key, "*", roles=["admin"])


def _expired(key: Key) -> Key:
    return with_grants(key, "*", expires="2020-01-01T00:00:00Z")


def _somebody_elses(key: Key) -> Key:
    return with_grants(key, "*", principal="somebody-else")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda key: None, Code.UNAUTHENTICATED),
        (_expired, Code.UNAUTHENTICATED),
        (_somebody_elses, Code.UNAUTHENTICATED),
        (_elsewhere, Code.PERMISSION_DENIED),
        (_without_role, Code.PERMISSION_DENIED),
    ],
    ids=["removed", "expired", "another principal's", "without the table", "without the role"],
)
async def test_a_stream_ends_with_its_grant(
    running: RunningService, change: Callable[[Key], Key | None], code: grpc.StatusCode
) -> None:
    """The page that was being read for the stream is not sent."""
    stream = await running.stream()
    changed = change(running.reader)
    await running.force(*([changed] if changed else []))
    messages, refusal = await remaining(stream)
    assert refusal is not None
    assert refusal.code is code
    assert messages == []


@pytest.mark.parametrize("pattern", ["events", "eve*"])
async def test_a_stream_whose_grant_shrinks_goes_on_within_it(
    running: RunningService, pattern: str
) -> None:
    """The stream ends UNAVAILABLE; resuming from its last token gives the still granted part."""
    stream = await running.stream()
    await running.force(
        with_grants(running.reader, {"table": pattern, "attributes": ["owner", "at"]})
    )
    messages, refusal = await remaining(stream)
    assert messages == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "ACCESS_CHANGED")
    assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() == 0


async def test_a_stream_whose_grant_gets_a_rule_has_to_start_again(running: RunningService) -> None:
    """The stream cannot be resumed, because tokens are bound to the rule."""
    stream = await running.stream()
    await running.force(with_grants(running.reader, {"table": "events", "rule": _RULE}))
    messages, refusal = await remaining(stream)
    assert messages == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "ACCESS_CHANGED")
    assert "start again without a token" in refusal.message


async def test_a_stream_ends_when_the_catalog_hides_an_attribute(
    running: RunningService,
) -> None:
    """An attribute that is hidden from all callers is no longer sent."""
    stream = await running.stream()
    await running.declare(attributes=["owner", "at"])
    messages, refusal = await remaining(stream)
    assert messages == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "ACCESS_CHANGED")


async def test_changes_that_leave_the_access_as_it_was_end_nothing(running: RunningService) -> None:
    """Changes of other keys, tables and patterns do not affect a stream."""
    stream = await running.stream()
    await running.force(make_key("new"), with_grants(running.reader, "events", "more-*"))
    both = catalog_of(running.table, required=["kind"])
    both["tables"]["others"] = {"table": running.table}
    before = len(running.logged.of("config_file_reloaded"))
    write_catalog(running.service.catalog_file, both)
    await eventually(lambda: len(running.logged.of("config_file_reloaded")) > before)
    messages, refusal = await remaining(stream)
    assert refusal is None
    assert [n for m in messages for n in numbers(m.items, "at")] == list(range(11, _COUNT + 1))


async def test_the_python_client_goes_on_by_itself(running: RunningService) -> None:
    """Its stream has every item once, after the change with the remaining attributes."""
    running.stub.script = running._close_gate
    address = running.service.app.address
    async with QueryClient(address, api_key=running.reader.text) as client:
        stream = client.stream(Query("events", "owner = 'ulrike'"), page_size=10)
        items = [await anext(stream)]
        await running.force(
            with_grants(running.reader, {"table": "events", "attributes": ["owner", "at"]})
        )
        items += [item async for item in stream]
    assert [item["at"] for item in items] == list(range(1, _COUNT + 1))
    assert all("note" in item for item in items[:10])
    assert all(set(item) == {"owner", "at"} for item in items[10:])


_KEYS: Final = [Item(attributes={"owner": AttributeValue(s="ulrike"), "at": AttributeValue(n="1")})]
_UNARY: Final[Mapping[str, Callable[[Service], Awaitable[object]]]] = {
    "Query": lambda service: service.query(OF_ULRIKE),
    "CountItems": lambda service: service.count(OF_ULRIKE),
    "BatchGetItems": lambda service: service.get("events", _KEYS),
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda key: None, Code.UNAUTHENTICATED),
        (lambda key: with_grants(key, "other"), Code.PERMISSION_DENIED),
        (
            lambda key: with_grants(key, {"table": "events", "attributes": ["owner", "at"]}),
            Code.UNAVAILABLE,
        ),
        (lambda key: with_grants(key, {"table": "events", "rule": _RULE}), Code.UNAVAILABLE),
    ],
    ids=["removed", "without the table", "fewer attributes", "a rule"],
)
@pytest.mark.parametrize("method", _UNARY)
async def test_a_unary_call_answers_under_the_grant_of_its_end(
    running: RunningService, method: str, change: Callable[[Key], Key | None], code: grpc.StatusCode
) -> None:
    """A page from another grant is dropped; the error says if the call may be repeated."""
    running.stub.gate.clear()
    call = asyncio.ensure_future(_UNARY[method](running.service))
    await running.reads(1)
    changed = change(running.reader)
    await running.force(*([changed] if changed else []))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code


_KIND: Final = "kind = 'login' AND at > 1 AND note = 'a remark'"
_WITHOUT_READS: Final[Mapping[str, Callable[[Service, str], Awaitable[object]]]] = {
    "ExplainQuery": lambda service, table: service.explain(query_spec(table, _KIND)),
    "GetTable": lambda service, table: service.catalog.GetTable(
        GetTableRequest(table=table), metadata=service.metadata()
    ),
    "InvalidateCache": lambda service, table: service.invalidate(table, owner="ulrike"),
    "ListTables": lambda service, table: service.catalog.ListTables(
        ListTablesRequest(), metadata=service.metadata()
    ),
}


@pytest.mark.parametrize(
    "granted",
    [["other"], [{"table": "*", "attributes": ["owner", "at"]}], [{"table": "*", "rule": _RULE}]],
    ids=["without the table", "fewer attributes", "a rule"],
)
@pytest.mark.parametrize("method", _WITHOUT_READS)
async def test_a_call_that_waits_for_descriptions_uses_the_last_grant(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    logged: Logged,
    method: str,
    granted: list[Any],
) -> None:
    """Describing a discovered table, or listing all, may take as long as a read."""
    asked, gate = asyncio.Event(), asyncio.Event()

    async def hold(request: dict[str, Any], ask: Ask) -> Reply:
        asked.set()
        await gate.wait()
        return reply_with(await ask(request))

    key = make_key("reader", roles=["reader", "admin"])
    acts = {"DescribeTable": hold, "ListTables": hold}
    async with open_stub(dynamodb_local, acts) as stub:
        url = f"http://127.0.0.1:{stub.port}"
        async with open_service(tmp_path, url, {"discover": ["running-*"]}, [key]) as service:
            call = asyncio.ensure_future(_WITHOUT_READS[method](service, table))
            await asked.wait()
            service.write_keys(with_grants(key, *granted), make_key("nobody"))
            await eventually(lambda: logged.of("config_file_reloaded"))
            gate.set()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
    about_one = method != "ListTables"
    lost = about_one and granted == ["other"]
    assert caught.value.code() is (Code.PERMISSION_DENIED if lost else Code.UNAVAILABLE)
    assert lost or refusal_of(caught.value).reason == "ACCESS_CHANGED"


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_key_that_expires_during_a_call_ends_it(streaming: bool) -> None:
    """The call ends at the time in the file, even if the file is not read again."""
    key = make_key("brief", expires="2030-01-01T00:00:00Z")
    ring = KeyRing.of(KeysFile.model_validate({"keys": [dict(key.entry)]}))
    end = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    now = [end - 1]

    async def expire(context: Context) -> None:
        now[0] = end

    log: list[str] = []
    keys = ApiKeyAuthenticator(SimpleNamespace(current=ring))
    authentication = Authentication([keys], lambda: now[0], True)
    async with hooked(authentication, log=log) as server:
        server.handlers.act = expire
        call: Any = (
            server.stub.StreamQuery(StreamQueryRequest(), metadata=key.metadata)
            if streaming
            else server.stub.Query(QueryRequest(), metadata=key.metadata)
        )
        if streaming:
            assert [(await call.read()).sequence for _ in range(2)] == [1, 2]
        assert await call.code() is Code.UNAUTHENTICATED
