"""Tests that attributes whose names the catalog or the service uses otherwise are not lost."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor_server.cli.config import show_config
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Service, open_service, query_spec, server_settings

_ITEMS: Final[list[dict[str, Any]]] = [
    {"PK": {"S": "USER#u1"}, "SK": {"S": "USER#u1"}, "name": {"S": "Ulrike"}},
    {"PK": {"S": "USER#u1"}, "SK": {"S": "ORDER#1"}, "user_id": {"S": "copy"}},
    {"PK": {"S": "SYSTEM#s"}, "SK": {"S": "1"}, "user_id": {"S": "u1"}, "GS1": {"S": "g"}},
    {"PK": {"S": "SYSTEM#s"}, "SK": {"S": "2"}, "\0expired": {"BOOL": True}},
    {"PK": {"S": "SYSTEM#s"}, "SK": {"S": "3"}, "gone_at": {"N": str(int(time.time()) - 60)}},
]


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Iterator[str]:
    """A single-table design in which some items store attributes that others have in their keys."""
    name = f"rpc-stored-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    indexes = (Index("gs1", False, ("GS1",), (), "INCLUDE", ("user_id",)),)
    create_table(client, Schema(name, "PK", "SK", indexes, {"PK": "S", "SK": "S", "GS1": "S"}))
    put_items(client, name, _ITEMS)
    yield name
    client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture
async def service(table: str, tmp_path: Path, dynamodb_local: str) -> AsyncIterator[Service]:
    """A server of the table."""
    entry = {
        "table": table,
        "keys": {"PK": "USER#{user_id}", "SK": "USER#{user_id}"},
        "allow_scan": True,
        "time_to_live": "gone_at",
        "hide_expired": True,
    }
    async with open_service(tmp_path, dynamodb_local, {"tables": {"people": entry}}) as running:
        yield running


async def _rows(service: Service, expression: str, **fields: Any) -> dict[str, dict[str, str]]:
    answer = await service.query(query_spec("people", expression, **fields))
    return {
        item.attributes["SK"].s: {name: value.s for name, value in item.attributes.items()}
        for item in answer.items
    }


async def test_a_stored_attribute_with_the_name_of_a_field_is_shown(service: Service) -> None:
    """It is shown if the item's keys do not have the field; otherwise the key has the value."""
    rows = await _rows(service, "")
    assert rows["1"]["user_id"] == "u1", "no template fits the key"
    assert (rows["USER#u1"]["user_id"], rows["ORDER#1"]["user_id"]) == ("u1", "u1")
    assert "user_id" not in rows["2"]
    projected = await _rows(service, "", projection=["SK", "user_id"])
    assert {sort: row.get("user_id") for sort, row in projected.items()} == {
        "USER#u1": "u1", "ORDER#1": "u1", "1": "u1", "2": None,
    }  # fmt: skip
    through_index = await _rows(service, "GS1 = 'g'", projection=["SK", "user_id"])
    assert through_index == {"1": {"SK": "1", "user_id": "u1"}}


async def test_a_condition_on_a_field_is_about_the_key_on_every_path(service: Service) -> None:
    """A stored copy in an item of another kind is shown but not found, by any path."""
    for index in ("", "@table"):
        assert (await _rows(service, "user_id = 'u1'", index=index)).keys() == {
            "USER#u1", "ORDER#1",
        }  # fmt: skip
    scanned = await _rows(service, "user_id = 'u1' OR SK = 'none'")
    assert scanned.keys() == {"USER#u1", "ORDER#1"}


async def test_an_attribute_of_any_name_hides_no_item(service: Service) -> None:
    """Items and counts agree, and only expired items are left out."""
    rows = await _rows(service, "PK = 'SYSTEM#s'")
    assert rows.keys() == {"1", "2"}
    counted = await service.count(query_spec("people", "PK = 'SYSTEM#s'"))
    assert counted.total.value == 2
    explained = await service.explain(query_spec("people", "PK = 'SYSTEM#s'"))
    assert explained.local_filter == ""


async def test_config_notes_stored_attributes_with_the_names_of_fields(
    service: Service, dynamodb_local: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The note explains which of the two values is shown."""
    settings = server_settings(service.catalog_file, service.keys_file, endpoint_url=dynamodb_local)
    assert await show_config(settings) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "table people: items store an attribute user_id, which is a field of a key" in text
