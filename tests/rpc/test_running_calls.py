"""What becomes of calls that are running when keys, grants or the catalog change."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import Query, QueryClient
from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.keys_file import KeysFile
from dynamodb_processor_server.rpc.interceptors.authentication import Authentication
from tests.faults.stub import Ask, Reply, Stub, open_stub, reply_with
from tests.rpc.hooked import Context, hooked
from tests.rpc.logged import Logged
from tests.support.datasets import Index, Schema
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
    write_catalog,
)

Code = grpc.StatusCode

_COUNT: Final = 30
_RULE: Final = "owner = 'ulrike'"
_OF_ULRIKE: Final = query_spec("events", "owner = 'ulrike'")
_BYPASS: Final = query_pb2.CachePolicy(mode=query_pb2.CACHE_MODE_BYPASS)


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


def _catalog(table: str, **more: Any) -> dict[str, Any]:
    return {"tables": {"events": {"table": table, **more}}}


def _granted(key: Key, *tables: Any, **more: Any) -> Key:
    """Return the same key with another entry in the file."""
    return Key(key.text, {**key.entry, "tables": list(tables), **more})


@dataclass
class _Running:
    """A service, its DynamoDB, which answers no read while `stub.gate` is closed, and its log."""

    service: Service
    stub: Stub
    logged: Logged
    table: str
    reader: Key

    async def stream(self) -> Any:
        """Return a stream that has given one message and waits for DynamoDB."""
        self.stub.script = self._close_gate
        stream = self.service.stream(_OF_ULRIKE, page_size=10, cache=_BYPASS)
        message: Any = await stream.read()
        assert numbers(message.items, "at") == list(range(1, 11))
        return stream

    def _close_gate(self, number: int, body: bytes) -> None:
        self.stub.gate.clear()

    async def reads(self, count: int) -> None:
        """Wait until so many reads have come to DynamoDB."""
        await eventually(lambda: self.stub.reads >= count)

    async def force(self, *keys: Key) -> None:
        """Put keys in force, beside one that nobody has."""
        await self._reloaded(lambda: self.service.write_keys(*keys, make_key("nobody")))

    async def declare(self, **declaration: Any) -> None:
        """Put another declaration of the table in force."""
        catalog = _catalog(self.table, **declaration)
        await self._reloaded(lambda: write_catalog(self.service.catalog_file, catalog))

    async def _reloaded(self, change: Callable[[], None]) -> None:
        before = len(self.logged.of("document_reloaded"))
        change()
        await eventually(lambda: len(self.logged.of("document_reloaded")) > before)
        self.stub.script = lambda number, body: None
        self.stub.gate.set()


@pytest_asyncio.fixture
async def running(
    tmp_path: Path, dynamodb_local: str, table: str, logged: Logged
) -> AsyncIterator[_Running]:
    """A service of the table."""
    reader = make_key("reader")
    async with open_stub(dynamodb_local) as stub:
        url = f"http://127.0.0.1:{stub.port}"
        catalog = _catalog(table, required=["kind"])
        async with open_service(tmp_path, url, catalog, [reader], stream_interval=600.0) as service:
            yield _Running(service, stub, logged, table, reader)


async def _rest(stream: Any) -> tuple[list[Any], Refusal | None]:
    """Return the messages that still come, and how the stream fails, if it does."""
    messages: list[Any] = []
    try:
        while (message := await stream.read()) is not grpc.aio.EOF:
            messages.append(message)
    except grpc.aio.AioRpcError as error:
        return messages, refusal_of(error)
    return messages, None


def _elsewhere(key: Key) -> Key:
    return _granted(key, "other")


def _without_role(key: Key) -> Key:
    return _granted(key, "*", roles=["admin"])


def _expired(key: Key) -> Key:
    return _granted(key, "*", expires="2020-01-01T00:00:00Z")


def _somebody_elses(key: Key) -> Key:
    return _granted(key, "*", principal="somebody-else")


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
async def test_a_stream_ends_with_the_right_to_it(
    running: _Running, change: Callable[[Key], Key | None], code: grpc.StatusCode
) -> None:
    """The page that was being read for it does not go out."""
    stream = await running.stream()
    changed = change(running.reader)
    await running.force(*([changed] if changed else []))
    messages, refusal = await _rest(stream)
    assert refusal is not None
    assert refusal.code is code
    assert messages == []


@pytest.mark.parametrize("pattern", ["events", "eve*"])
async def test_a_stream_whose_grant_shrinks_goes_on_within_it(
    running: _Running, pattern: str
) -> None:
    """It is UNAVAILABLE; what is resumed from the last token shows what is granted now."""
    stream = await running.stream()
    await running.force(_granted(running.reader, {"table": pattern, "attributes": ["owner", "at"]}))
    messages, refusal = await _rest(stream)
    assert messages == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "ACCESS_CHANGED")
    assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() == 0


async def test_a_stream_whose_grant_gets_a_rule_has_to_start_again(running: _Running) -> None:
    """Its tokens are bound to the rule, so resuming would not do."""
    stream = await running.stream()
    await running.force(_granted(running.reader, {"table": "events", "rule": _RULE}))
    messages, refusal = await _rest(stream)
    assert messages == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (Code.FAILED_PRECONDITION, "ACCESS_CHANGED")
    assert "start again without a token" in refusal.message


async def test_a_stream_ends_when_the_catalog_withdraws_an_attribute(running: _Running) -> None:
    """What is hidden from everybody does not go out any more."""
    stream = await running.stream()
    await running.declare(attributes=["owner", "at"])
    messages, refusal = await _rest(stream)
    assert messages == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "ACCESS_CHANGED")


async def test_changes_that_leave_the_access_as_it_was_end_nothing(running: _Running) -> None:
    """Other keys, other tables and other patterns do not matter to a stream."""
    stream = await running.stream()
    await running.force(make_key("new"), _granted(running.reader, "events", "more-*"))
    both = _catalog(running.table, required=["kind"])
    both["tables"]["others"] = {"table": running.table}
    before = len(running.logged.of("document_reloaded"))
    write_catalog(running.service.catalog_file, both)
    await eventually(lambda: len(running.logged.of("document_reloaded")) > before)
    messages, refusal = await _rest(stream)
    assert refusal is None
    assert [n for m in messages for n in numbers(m.items, "at")] == list(range(11, _COUNT + 1))


async def test_the_python_client_goes_on_by_itself(running: _Running) -> None:
    """Its stream has every item once, and from the change on those attributes that are left."""
    running.stub.script = running._close_gate
    address = running.service.app.address
    async with QueryClient(address, api_key=running.reader.text) as client:
        stream = client.stream(Query("events", "owner = 'ulrike'"), page_size=10)
        items = [await anext(stream)]
        await running.force(
            _granted(running.reader, {"table": "events", "attributes": ["owner", "at"]})
        )
        items += [item async for item in stream]
    assert [item["at"] for item in items] == list(range(1, _COUNT + 1))
    assert all("note" in item for item in items[:10])
    assert all(set(item) == {"owner", "at"} for item in items[10:])


_KEYS: Final = [Item(attributes={"owner": AttributeValue(s="ulrike"), "at": AttributeValue(n="1")})]
_UNARY: Final[Mapping[str, Callable[[Service], Awaitable[object]]]] = {
    "Query": lambda service: service.query(_OF_ULRIKE),
    "CountItems": lambda service: service.count(_OF_ULRIKE),
    "BatchGetItems": lambda service: service.get("events", _KEYS),
}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda key: None, Code.UNAUTHENTICATED),
        (lambda key: _granted(key, "other"), Code.PERMISSION_DENIED),
        (
            lambda key: _granted(key, {"table": "events", "attributes": ["owner", "at"]}),
            Code.UNAVAILABLE,
        ),
        (lambda key: _granted(key, {"table": "events", "rule": _RULE}), Code.UNAVAILABLE),
    ],
    ids=["removed", "without the table", "fewer attributes", "a rule"],
)
@pytest.mark.parametrize("method", _UNARY)
async def test_a_unary_call_answers_under_the_grant_of_its_end(
    running: _Running, method: str, change: Callable[[Key], Key | None], code: grpc.StatusCode
) -> None:
    """What was read under another one is dropped; where the call may be repeated it says so."""
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
async def test_a_call_that_waits_for_descriptions_answers_under_the_grant_of_its_end(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    logged: Logged,
    method: str,
    granted: list[Any],
) -> None:
    """The first use of a discovered table, or the list of all, may take as long as a read."""
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
            service.write_keys(_granted(key, *granted), make_key("nobody"))
            await eventually(lambda: logged.of("document_reloaded"))
            gate.set()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
    about_one = method != "ListTables"
    lost = about_one and granted == ["other"]
    assert caught.value.code() is (Code.PERMISSION_DENIED if lost else Code.UNAVAILABLE)
    assert lost or refusal_of(caught.value).reason == "ACCESS_CHANGED"


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_key_that_expires_during_a_call_ends_it(streaming: bool) -> None:
    """At the moment that the file names, whoever looks at the file."""
    key = make_key("brief", expires="2030-01-01T00:00:00Z")
    ring = KeyRing.of(KeysFile.model_validate({"keys": [dict(key.entry)]}))
    end = datetime(2030, 1, 1, tzinfo=UTC).timestamp()
    now = [end - 1]

    async def expire(context: Context) -> None:
        now[0] = end

    log: list[str] = []
    async with hooked(Authentication(lambda: ring, lambda: now[0], True), log=log) as server:
        server.handlers.act = expire
        call: Any = (
            server.stub.StreamQuery(StreamQueryRequest(), metadata=key.metadata)
            if streaming
            else server.stub.Query(QueryRequest(), metadata=key.metadata)
        )
        if streaming:
            assert [(await call.read()).sequence for _ in range(2)] == [1, 2]
        assert await call.code() is Code.UNAUTHENTICATED
