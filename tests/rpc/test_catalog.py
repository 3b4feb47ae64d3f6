"""Tests of `CatalogService`: granted tables, and changes of the file and of DynamoDB."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1 import catalog_service_pb2 as pb
from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from tests.rpc.data import FOUND_PREFIX, VIKTOR, event, events_catalog, events_schema
from tests.rpc.logged import Logged
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Refusal,
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refused,
    write_catalog,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

Code = grpc.StatusCode


@pytest.fixture(scope="module")
def found(dynamodb_local: str) -> Iterator[list[str]]:
    """The names of two tables that no catalog names, one with an event in it."""
    names = [f"{FOUND_PREFIX}{letter}-{uuid.uuid4().hex[:8]}" for letter in "ab"]
    client = open_client(dynamodb_local)
    for name in names:
        create_table(client, events_schema(name))
    put_items(client, names[0], [event(VIKTOR, 1)])
    yield names
    for name in names:
        client.delete_table(TableName=name)
    client.close()


async def list_page(service: Service, key: str | None = None, **fields: Any) -> Any:
    """Return one page of the listing."""
    request = pb.ListTablesRequest(**fields)
    return await service.catalog.ListTables(
        request, metadata=service.metadata(key), timeout=PATIENCE
    )


async def listed(service: Service, key: str | None = None) -> list[str]:
    """Return the names of all tables that a key may read."""
    return [table.name for table in (await list_page(service, key)).tables]


async def get_table(service: Service, name: str, key: str | None = None) -> pb.Table:
    """Return one table."""
    request = pb.GetTableRequest(table=name)
    answer = await service.catalog.GetTable(
        request, metadata=service.metadata(key), timeout=PATIENCE
    )
    return answer.table


async def failure(service: Service, method: str, request: Any, key: str | None = None) -> Refusal:
    """Return the failure of a call."""
    call = getattr(service.catalog, method)
    return await refused(call(request, metadata=service.metadata(key), timeout=PATIENCE))


async def test_tables_are_listed_by_name_with_their_descriptions(service: Service) -> None:
    """They are on one page if they fit."""
    page = await list_page(service)
    assert [table.name for table in page.tables] == ["events", "narrow", "scannable", "uncached"]
    assert page.tables[0].description == "What users did."
    assert page.next_page_token == ""


@pytest.mark.parametrize(("size", "pages"), [(1, [1, 1, 1, 1]), (3, [3, 1]), (2, [2, 2]), (9, [4])])
async def test_a_listing_is_paged(service: Service, size: int, pages: list[int]) -> None:
    """Each table comes once, and only the last page has no token."""
    sizes, names, token = [], [], ""
    while True:
        page = await list_page(service, page_size=size, page_token=token)
        sizes.append(len(page.tables))
        names += [table.name for table in page.tables]
        token = page.next_page_token
        if not token:
            break
    assert sizes == pages
    assert names == ["events", "narrow", "scannable", "uncached"]


async def test_only_granted_tables_are_listed(service: Service) -> None:
    """Other tables are not visible, not even in the paging."""
    page = await list_page(service, "narrow", page_size=1)
    assert ([table.name for table in page.tables], page.next_page_token) == (["narrow"], "")


async def test_a_negative_page_size_is_refused(service: Service) -> None:
    """It is refused as in queries."""
    refusal = await failure(service, "ListTables", pb.ListTablesRequest(page_size=-1))
    assert refusal.code is Code.INVALID_ARGUMENT
    assert refusal.descriptions == {"page_size": "must not be negative, is -1"}


async def test_a_table_must_be_named(service: Service) -> None:
    """`GetTable` without a name is a violation."""
    refusal = await failure(service, "GetTable", pb.GetTableRequest())
    assert refusal.code is Code.INVALID_ARGUMENT
    assert refusal.descriptions == {"table": "is required"}


async def test_a_table_is_described(service: Service) -> None:
    """Keys and indexes come from DynamoDB, rules from the catalog."""
    table = await get_table(service, "events")
    assert (table.name, table.description) == ("events", "What users did.")
    assert [(a.name, a.type) for a in table.key.partition] == [("user_id", pb.KEY_TYPE_STRING)]
    assert [(a.name, a.type) for a in table.key.sort] == [("at", pb.KEY_TYPE_NUMBER)]
    assert (table.default_page_size, table.max_page_size) == (100, 1_000)
    assert table.cache_ttl.seconds == 300
    assert list(table.required_attributes) == ["system_id", "level"]
    assert not table.visible_attributes
    assert not table.allow_scan

    indexes = {index.name: index for index in table.indexes}
    assert list(indexes) == ["by_kind", "by_level", "by_system"]
    kind, level, system = indexes.values()
    assert level.kind == pb.INDEX_KIND_LOCAL
    assert [a.name for a in level.key.sort] == ["level"]
    assert not level.projects_all
    assert list(level.projected_attributes) == ["at", "level", "user_id"]
    assert kind.kind == pb.INDEX_KIND_GLOBAL
    assert not kind.key.sort
    assert list(kind.projected_attributes) == ["at", "kind", "note", "user_id"]
    assert system.projects_all
    assert not system.projected_attributes


async def test_the_catalogs_rules_are_described(service: Service) -> None:
    """Callers need not learn the rules by refused calls."""
    narrow = await get_table(service, "narrow", "narrow")
    assert list(narrow.visible_attributes) == ["user_id", "at", "level"]
    scannable = await get_table(service, "scannable")
    assert scannable.allow_scan
    assert (scannable.default_page_size, scannable.max_page_size) == (3, 20)
    assert (await get_table(service, "uncached")).cache_ttl.ToNanoseconds() == 0


async def test_hidden_attributes_are_not_described(service: Service) -> None:
    """An index is described only if its whole key is visible, with its visible attributes."""
    table = await get_table(service, "narrow")
    assert [index.name for index in table.indexes] == ["by_level"]
    text = str(table)
    assert "system_id" not in text
    assert "note" not in text


async def test_patterns_discover_tables(
    tmp_path: Path, dynamodb_local: str, events: str, found: list[str]
) -> None:
    """Granted tables are served under their own names, with the defaults."""
    catalog = events_catalog(events) | {"discover": [f"{FOUND_PREFIX}*"]}
    keys = [make_key("all"), make_key("some", tables=[f"{FOUND_PREFIX}b-*"])]
    async with open_service(tmp_path, dynamodb_local, catalog, keys) as service:
        mine = [name for name in await listed(service) if name in found]
        assert mine == found
        assert await listed(service, "some") == [found[1]]
        table = await get_table(service, found[0])
        assert (table.name, table.default_page_size, table.allow_scan) == (found[0], 100, False)
        assert len(table.indexes) == 3
        page = await service.query(
            query_spec(found[0], "user_id = :u", parameters={"u": VIKTOR}), key="all"
        )
        assert page.stats.items_returned == 1
        refusal = await failure(service, "GetTable", pb.GetTableRequest(table=found[0]), "some")
        assert refusal.code is Code.PERMISSION_DENIED
        for name in (events, f"{FOUND_PREFIX}none"):  # not matched, and matched but not there
            refusal = await failure(service, "GetTable", pb.GetTableRequest(table=name))
            assert refusal.code is Code.NOT_FOUND


async def test_a_catalog_of_patterns_alone_is_ready(
    tmp_path: Path, dynamodb_local: str, found: list[str]
) -> None:
    """There is no named table to wait for."""
    catalog = {"discover": [f"{FOUND_PREFIX}*"]}
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        assert await service.check() == "SERVING"
        assert set(found) <= set(await listed(service))


@dataclass
class Silence:
    """A DynamoDB that sends nothing; `connections` are open, `most` were at the same time."""

    connections: int = 0
    most: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen until the client has disconnected."""
        self.connections += 1
        self.most = max(self.most, self.connections)
        while await reader.read(65_536):
            pass
        self.connections -= 1
        writer.close()


@asynccontextmanager
async def unheard(directory: Path, **settings: Any) -> AsyncIterator[tuple[Service, Silence]]:
    """Run a server whose DynamoDB sends nothing."""
    silence = Silence()
    dynamodb = await asyncio.start_server(silence.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{dynamodb.sockets[0].getsockname()[1]}"
    catalog = {"discover": ["found-*"]}
    async with dynamodb, open_service(directory, url, catalog, **settings) as service:
        yield service, silence


def wanting(service: Service) -> list[Any]:
    """Return calls without a deadline that need the description of the same table."""
    spec = query_spec("found-1", "user_id = :u", parameters={"u": VIKTOR})
    how: Any = {"metadata": service.metadata()}
    return [
        call
        for _ in range(5)
        for call in (
            service.catalog.ListTables(pb.ListTablesRequest(), **how),
            service.catalog.GetTable(pb.GetTableRequest(table="found-1"), **how),
            service.queries.Query(QueryRequest(query=spec), **how),
            service.queries.StreamQuery(StreamQueryRequest(query=spec), **how),
        )
    ]


async def test_no_call_waits_forever_for_descriptions(tmp_path: Path) -> None:
    """Without its own deadline a call has the server's, and so has a stream."""
    async with unheard(tmp_path, unary_deadline=0.5) as (service, _):
        codes = await asyncio.gather(*(call.code() for call in wanting(service)))
    assert set(codes) == {Code.DEADLINE_EXCEEDED}


async def test_calls_share_one_description(tmp_path: Path) -> None:
    """When all of the calls have ended, the request to DynamoDB is cancelled."""
    async with unheard(tmp_path) as (service, silence):
        calls = wanting(service)
        await eventually(lambda: silence.connections == 2)
        await asyncio.sleep(0.1)  # some more time to ask again
        for call in calls:
            call.cancel()
        await eventually(lambda: silence.connections == 0)
    assert silence.most == 2, "one for the list, one for the table"


async def test_the_catalog_file_is_reloaded(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged
) -> None:
    """Tables are added, removed and changed without a restart."""
    catalog = events_catalog(events)
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        spec = query_spec("scannable", "user_id = :u", parameters={"u": VIKTOR})
        assert (await service.query(spec)).stats.items_returned == 3
        del catalog["tables"]["narrow"]
        catalog["tables"]["scannable"]["page_size"] = {"default": 2}
        catalog["tables"]["added"] = {"table": events}
        write_catalog(service.catalog_file, catalog)
        await eventually(lambda: logged.of("config_file_reloaded"))
        assert await listed(service) == ["added", "events", "scannable", "uncached"]
        assert (await service.query(spec)).stats.items_returned == 2
        added = query_spec("added", "user_id = :u", parameters={"u": VIKTOR})
        assert (await service.query(added)).stats.items_returned == 5
        gone = query_spec("narrow", "user_id = :u", parameters={"u": VIKTOR})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(gone)
        assert caught.value.code() is Code.NOT_FOUND


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("tables: {events: {cache_tll: 3}}", "cache_tll"),
        ("tables: [", "is not YAML"),
        ("tables: {}", "declares nothing"),
        ("tables: {events: {cache_ttl: -1}}", "cache_ttl"),
    ],
)
async def test_a_bad_catalog_changes_nothing(
    tmp_path: Path, dynamodb_local: str, events: str, logged: Logged, text: str, error: str
) -> None:
    """It is refused, the reason is logged once, and a later valid one is loaded."""
    catalog = events_catalog(events)
    async with open_service(tmp_path, dynamodb_local, catalog, reload_interval=0.02) as service:
        service.catalog_file.write_text(text)
        await eventually(lambda: logged.of("config_file_refused"))
        await asyncio.sleep(0.1)  # some more looks at the same bad file
        (record,) = logged.of("config_file_refused")
        assert error in " ".join(record["errors"])
        assert await listed(service) == ["events", "narrow", "scannable", "uncached"]
        del catalog["tables"]["narrow"]
        write_catalog(service.catalog_file, catalog)
        await eventually(lambda: logged.of("config_file_reloaded"))
        assert await listed(service) == ["events", "scannable", "uncached"]
