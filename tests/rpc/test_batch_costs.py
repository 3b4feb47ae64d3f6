"""Tests the cost of `BatchGetItems`: following deferred keys to the end costs one pass."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import CACHE_MODE_BYPASS, CachePolicy
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import QueryClient
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Key, Service, make_key, open_service

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ITEMS: Final = 100
_ITEM_UNITS: Final = 49.0  # half a unit for each 4 KB of 390 KB
_KINDS: Final = ("known", "unknown", "mixed")


@pytest.fixture(scope="module")
def key() -> Key:
    """A key that may read everything."""
    return make_key("tester")


def _large(number: int) -> dict[str, Any]:
    return {"id": {"S": f"large-{number}"}, "data": {"S": "x" * 390 * 1024}}


@pytest.fixture(scope="module")
def tables(dynamodb_local: str) -> Iterator[dict[str, str]]:
    """Tables with a hundred items of 390 KB, one of them among many small ones."""
    names = {kind: f"rpc-batch-{kind}-{uuid.uuid4().hex[:8]}" for kind in _KINDS}
    client = open_client(dynamodb_local)
    for name in names.values():
        create_table(client, Schema(name, "id", None, (), {"id": "S"}))
    for number in range(_ITEMS):
        put_items(client, names["known"], [_large(number)])
        put_items(client, names["mixed"], [_large(number)])
    small = ({"id": {"S": f"small-{number}"}} for number in range(20_000))
    put_items(client, names["mixed"], small)
    yield names
    for name in names.values():
        client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def batches(
    tmp_path_factory: pytest.TempPathFactory,
    dynamodb_local: str,
    tables: dict[str, str],
    key: Key,
) -> AsyncIterator[Service]:
    """A server of these tables; one of them was empty when it was described."""
    catalog = {"tables": {kind: {"table": name} for kind, name in tables.items()}}
    directory = tmp_path_factory.mktemp("batches")
    async with open_service(directory, dynamodb_local, catalog, [key]) as service:
        client = open_client(dynamodb_local)
        for number in range(_ITEMS):
            await asyncio.to_thread(put_items, client, tables["unknown"], [_large(number)])
        client.close()
        yield service


def _keys(kind: str = "large", count: int = _ITEMS) -> list[Item]:
    names = (f"{kind}-{number}" for number in range(count))
    return [Item(attributes={"id": AttributeValue(s=name)}) for name in names]


async def _follow(service: Service, table: str) -> tuple[int, float, int]:
    """Return the number of items, the read units and the calls until no key was deferred."""
    pending, found, units, calls = _keys(), 0, 0.0, 0
    while pending:
        answer = await service.get(table, pending)
        found += answer.stats.items_returned
        units += answer.stats.read_units
        calls += 1
        pending = [r.deferred_key for r in answer.results if r.HasField("deferred_key")]
    return found, units, calls


@pytest.mark.parametrize("table", ["known", "unknown"])
async def test_deferred_keys_cost_one_pass(
    batches: Service, table: str, show_line: Callable[[str], None]
) -> None:
    """Following a hundred items of 390 KB costs as much as reading each once."""
    found, units, calls = await _follow(batches, table)
    show_line(
        f"BatchGetItems of {_ITEMS} x 390 KB, size {table}: {units} units in {calls} calls "
        f"(one pass: {_ITEMS * _ITEM_UNITS})"
    )
    assert found == _ITEMS
    assert units <= 1.1 * _ITEMS * _ITEM_UNITS


async def test_large_items_among_small_ones_are_read_in_vain_once(
    batches: Service, show_line: Callable[[str], None]
) -> None:
    """One 16 MB answer of DynamoDB shows their size; the next calls use it."""
    found, units, calls = await _follow(batches, "mixed")
    show_line(
        f"BatchGetItems of {_ITEMS} x 390 KB among small items: {units} units in {calls} calls"
    )
    assert found == _ITEMS
    assert units <= (_ITEMS + 41) * _ITEM_UNITS
    answer = await batches.get("mixed", _keys("small"))
    assert [r.WhichOneof("result") for r in answer.results] == ["item"] * _ITEMS


async def test_the_client_follows_at_the_same_cost(batches: Service, key: Key) -> None:
    """`client.get` returns every item, in the order of the keys."""
    async with QueryClient(batches.app.address, api_key=key.text) as client:
        keys = [{"id": f"large-{number}"} for number in range(_ITEMS)]
        items = await client.get("known", [*keys, {"id": "nothing"}])
    assert [item and item["id"] for item in items] == [*(k["id"] for k in keys), None]


async def test_small_items_take_one_request(batches: Service) -> None:
    """The table's average size is known from its description or from earlier reads."""
    bypass = CachePolicy(mode=CACHE_MODE_BYPASS)
    await batches.get("mixed", _keys("small"), cache=bypass)
    answer = await batches.get("mixed", _keys("small"), cache=bypass)
    assert answer.stats.items_returned == _ITEMS
    assert answer.stats.backend_calls == 1
