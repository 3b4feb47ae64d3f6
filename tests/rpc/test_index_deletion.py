"""Tests of tables with incomplete descriptions: an index or the table is being deleted."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.faults.stub import Act, Ask, Reply, open_stub, reply_with
from tests.rpc.logged import Logged
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refusal_of,
)

_ADMIN = make_key("admin", roles=["reader", "admin"])
_Change = Callable[[dict[str, Any]], None]


def _lose_attribute(table: dict[str, Any]) -> None:
    """Change a description as DynamoDB Local does while an index is deleted."""
    table["GlobalSecondaryIndexes"][0]["IndexStatus"] = "DELETING"
    table["AttributeDefinitions"] = [
        one for one in table["AttributeDefinitions"] if one["AttributeName"] != "city"
    ]


def _lose_projection(table: dict[str, Any]) -> None:
    """Change a description as AWS was reported to do while an index is deleted."""
    table["GlobalSecondaryIndexes"][0]["IndexStatus"] = "DELETING"
    del table["GlobalSecondaryIndexes"][0]["Projection"]


def _lose_projection_only(table: dict[str, Any]) -> None:
    """Remove the projection, and leave the status as it was."""
    del table["GlobalSecondaryIndexes"][0]["Projection"]


def _lose_everything(table: dict[str, Any]) -> None:
    """Remove everything of an index but its name."""
    name = table["GlobalSecondaryIndexes"][0]["IndexName"]
    table["GlobalSecondaryIndexes"][0] = {"IndexName": name}


def _delete_table(table: dict[str, Any]) -> None:
    """Change a description as AWS does while a table is deleted."""
    for name in list(table):
        if name != "TableName":
            del table[name]
    table["TableStatus"] = "DELETING"


def _lose_key(table: dict[str, Any]) -> None:
    """Remove the table's own key, although it is not being deleted."""
    del table["KeySchema"]


_INDEX_FORMS = [_lose_attribute, _lose_projection, _lose_projection_only, _lose_everything]
_TABLE_FORMS = [_delete_table, _lose_key]


@dataclass
class Tables:
    """Two tables in DynamoDB; descriptions of the first are changed by `change`."""

    first: str
    second: str
    change: _Change | None = None

    @property
    def acts(self) -> dict[str, Act]:
        """The operations that the stub answers in place of DynamoDB."""
        return {"DescribeTable": self._describe}

    async def _describe(self, request: dict[str, Any], ask: Ask) -> Reply:
        answer = await ask(request)
        if request["TableName"] == self.first and self.change is not None:
            self.change(answer["Table"])
        return reply_with(answer)


@pytest.fixture
def tables(dynamodb_local: str) -> Iterator[Tables]:
    """Two tables with two indexes each and three items."""
    suffix = uuid.uuid4().hex[:8]
    made = Tables(f"rpc-first-{suffix}", f"rpc-second-{suffix}")
    client = open_client(dynamodb_local)
    for table in (made.first, made.second):
        indexes = (Index("by_city", False, ("city",), ()), Index("by_land", False, ("land",), ()))
        types = {"id": "S", "city": "S", "land": "S"}
        create_table(client, Schema(table, "id", None, indexes, types))
        items = [{"id": str(n), "city": "Bern", "land": "Switzerland"} for n in range(3)]
        put_items(client, table, [{k: {"S": v} for k, v in one.items()} for one in items])
    yield made
    for table in (made.first, made.second):
        client.delete_table(TableName=table)
    client.close()


async def _count(service: Service, table: str, expression: str) -> int:
    return len((await service.query(query_spec(table, expression))).items)


async def _check_first(service: Service, table: str) -> None:
    """Assert that a table is served by every path but the index that is being deleted."""
    assert await _count(service, table, "id = '1'") == 1
    assert await _count(service, table, "land = 'Switzerland'") == 3
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _count(service, table, "city = 'Bern'")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


@pytest.mark.parametrize("change", _INDEX_FORMS)
async def test_a_server_starts_while_an_index_is_deleted(
    change: _Change, tables: Tables, tmp_path: Path, dynamodb_local: str, logged: Logged
) -> None:
    """It is ready, serves the table by its other paths, and logs the skipped index once."""
    tables.change = change
    catalog = {"tables": {"first": {"table": tables.first}, "second": {"table": tables.second}}}
    async with (
        open_stub(dynamodb_local, tables.acts) as stub,
        open_service(tmp_path, f"http://127.0.0.1:{stub.port}", catalog, [_ADMIN]) as service,
    ):
        assert await service.check() == "SERVING"
        await _check_first(service, "first")
        assert await _count(service, "second", "city = 'Bern'") == 3
        await service.invalidate("first", id="1")
        if change is not _lose_everything:  # another replica may read the index still
            await service.invalidate("first", city="Bern")
        for _ in range(3):
            await service.app._service.catalog.refresh()
        (record,) = logged.of("indexes_skipped")
        assert record["table"] == "first"
        assert "by_city: its " in record["reason"]


@pytest.mark.parametrize("change", _INDEX_FORMS)
async def test_a_running_server_goes_on_while_an_index_is_deleted(
    change: _Change, tables: Tables, tmp_path: Path, dynamodb_local: str, logged: Logged
) -> None:
    """The next refresh leaves the index out and describes every other table."""
    catalog = {"tables": {"first": {"table": tables.first}, "second": {"table": tables.second}}}
    async with (
        open_stub(dynamodb_local, tables.acts) as stub,
        open_service(tmp_path, f"http://127.0.0.1:{stub.port}", catalog) as service,
    ):
        assert await _count(service, "first", "city = 'Bern'") == 3
        tables.change = change
        await service.app._service.catalog.refresh()
        await _check_first(service, "first")
        tables.change = None
        await service.app._service.catalog.refresh()
        assert await _count(service, "first", "city = 'Bern'") == 3
        assert not logged.of("table_not_described")


@pytest.mark.parametrize("change", _INDEX_FORMS)
async def test_a_table_is_first_used_while_an_index_is_deleted(
    change: _Change, tables: Tables, tmp_path: Path, dynamodb_local: str
) -> None:
    """A caller's query makes the server describe a discovered table, and is answered."""
    tables.change = change
    async with (
        open_stub(dynamodb_local, tables.acts) as stub,
        open_service(tmp_path, f"http://127.0.0.1:{stub.port}", {"discover": ["rpc-*"]}) as service,
    ):
        await _check_first(service, tables.first)


@pytest.mark.parametrize("change", _TABLE_FORMS)
async def test_a_table_without_its_key_keeps_no_other_from_being_served(
    change: _Change, tables: Tables, tmp_path: Path, dynamodb_local: str, logged: Logged
) -> None:
    """A server starts without it, and describes it when it can."""
    tables.change = change
    catalog = {"tables": {"first": {"table": tables.first}, "second": {"table": tables.second}}}
    async with (
        open_stub(dynamodb_local, tables.acts) as stub,
        open_service(tmp_path, f"http://127.0.0.1:{stub.port}", catalog) as service,
    ):
        assert await _count(service, "second", "city = 'Bern'") == 3
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _count(service, "first", "id = '1'")
        expected = "NOT_FOUND" if change is _delete_table else "UNAVAILABLE"
        assert refusal_of(caught.value).code.name == expected
        await service.app._service.catalog.refresh()
        (record,) = [*logged.of("table_missing"), *logged.of("table_not_described")]
        assert record["table"] == "first"
        tables.change = None
        await service.app._service.catalog.refresh()
        await eventually(lambda: _is_ready(service))
        assert await _count(service, "first", "city = 'Bern'") == 3


async def _is_ready(service: Service) -> bool:
    return await service.check() == "SERVING"


@pytest.mark.parametrize("change", _TABLE_FORMS)
async def test_a_table_that_loses_its_key_ends_no_refresh(
    change: _Change, tables: Tables, tmp_path: Path, dynamodb_local: str
) -> None:
    """Tables after it in the refresh are described all the same."""
    catalog = {"tables": {"first": {"table": tables.first}, "second": {"table": tables.second}}}
    async with (
        open_stub(dynamodb_local, tables.acts) as stub,
        open_service(tmp_path, f"http://127.0.0.1:{stub.port}", catalog) as service,
    ):
        assert await _count(service, "first", "city = 'Bern'") == 3
        tables.change = change
        client = open_client(dynamodb_local)
        update = {"Delete": {"IndexName": "by_city"}}
        client.update_table(TableName=tables.second, GlobalSecondaryIndexUpdates=[update])
        client.close()
        await eventually(lambda: _lacks_city(service))


async def _lacks_city(service: Service) -> bool:
    await service.app._service.catalog.refresh()
    table = service.app._service.catalog.known("second")
    assert table is not None
    return table.schema.path("by_city") is None
