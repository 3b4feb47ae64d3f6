"""Tests an invalidation with as many keys as an item can have, all of the greatest length."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import make_key, open_service, query_spec

_INDEXES: Final = 20
_ATTRIBUTES_EACH: Final = 4


def _names(index: int) -> tuple[str, ...]:
    return tuple(f"k{index:02}{number}".ljust(250, "n") for number in range(_ATTRIBUTES_EACH))


_KEYS: Final = {name: name[:3] + "v" * 509 for n in range(_INDEXES) for name in _names(n)}


@pytest.fixture
def table(dynamodb_local: str) -> Iterator[str]:
    """A table whose item is in twenty indexes of four partition attributes of 2 KB in all."""
    name = f"rpc-long-keys-{uuid.uuid4().hex[:8]}"
    indexes = tuple(
        Index(f"by_{number}", False, _names(number), (), "KEYS_ONLY") for number in range(_INDEXES)
    )
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "id", None, indexes, dict.fromkeys(("id", *_KEYS), "S")))
    put_items(client, name, [{"id": {"S": "a"}, **{n: {"S": v} for n, v in _KEYS.items()}}])
    yield name
    client.delete_table(TableName=name)
    client.close()


async def test_an_invalidation_names_every_partition_of_an_item(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """Keys of more than 64 KB are accepted, and the pages of table and indexes are read anew."""
    keys = [make_key("admin", roles=["reader", "admin"])]
    catalog = {"tables": {"long": {"table": table, "required": list(_KEYS)}}}
    first = {name: value for name, value in _KEYS.items() if name in _names(0)}
    by_index = " AND ".join(f"{name} = :p{number}" for number, name in enumerate(first))
    parameters = {f"p{number}": value for number, value in enumerate(first.values())}
    specs = [
        query_spec("long", "id = 'a'"),
        query_spec("long", by_index, parameters=parameters, index="by_0"),
    ]
    async with open_service(tmp_path, dynamodb_local, catalog, keys) as service:
        for spec in specs:
            await service.query(spec)
            assert not (await service.query(spec)).stats.backend_calls
        await service.invalidate("long", id="a", **_KEYS)
        for spec in specs:
            page = await service.query(spec)
            assert [len(item.attributes) for item in page.items]
            assert page.stats.backend_calls
