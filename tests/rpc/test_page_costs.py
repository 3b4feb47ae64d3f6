"""Tests that small pages cost hardly more than large ones, in streams and in several partitions."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import Budget, Order
from tests.rpc.counting import BYPASS
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Service, numbers, open_service, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ITEMS: Final = 500
_PARTITIONS: Final = 20
_REQUEST_UNITS: Final = 0.5  # the least that an eventual read takes
_CONDITIONS: Final = {
    "none": "tenth < 0",
    "1 %": "hundredth = 7",
    "half": "tenth < 5",
    "all": "tenth >= 0",
    "no filter": "",
}
_ORDERS: Final = (Order.ORDER_ASCENDING, Order.ORDER_DESCENDING)


def _items() -> Iterator[WireItem]:
    for number in range(_ITEMS):
        rest = {"at": {"N": str(number)}, "tenth": {"N": str(number % 10)}}
        rest["hundredth"] = {"N": str(number % 100)}
        yield {"id": {"S": "one"}, **rest}
        yield {"id": {"S": f"p-{number % _PARTITIONS}"}, **rest}


def _large_items() -> Iterator[WireItem]:
    for number in range(10):
        yield {"id": {"S": "large"}, "at": {"N": str(number)}, "data": {"S": "x" * 300_000}}


@pytest.fixture(scope="module")
def tables(dynamodb_local: str) -> Iterator[dict[str, str]]:
    """A table of small items, in one partition and the same ones in twenty; and one of large."""
    names = {kind: f"rpc-page-{kind}-{uuid.uuid4().hex[:8]}" for kind in ("costs", "large")}
    client = open_client(dynamodb_local)
    for name, items in zip(names.values(), (_items(), _large_items()), strict=True):
        create_table(client, Schema(name, "id", "at", (), {"id": "S", "at": "N"}))
        put_items(client, name, items)
    yield names
    for name in names.values():
        client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, tables: dict[str, str]
) -> AsyncIterator[Service]:
    """A server of these tables."""
    catalog = {"tables": {kind: {"table": name} for kind, name in tables.items()}}
    async with open_service(tmp_path_factory.mktemp("pages"), dynamodb_local, catalog) as running:
        yield running


def _expression(partitions: int, condition: str) -> str:
    names = ["one"] if partitions == 1 else [f"p-{number}" for number in range(partitions)]
    listed = ", ".join(f"'{name}'" for name in names)
    return f"id IN ({listed})" + (f" AND {condition}" if condition else "")


@pytest.mark.parametrize("partitions", [1, _PARTITIONS])
async def test_a_stream_of_small_pages_costs_little_more_than_one_of_large_ones(
    service: Service, partitions: int, show_line: Callable[[str], None]
) -> None:
    """Items read beyond a page of 1 or 10 are kept for the next, in both orders."""
    for (share, condition), order in itertools.product(_CONDITIONS.items(), _ORDERS):
        spec = query_spec("costs", _expression(partitions, condition), order=order)
        *_, whole = await service.messages(spec, page_size=_ITEMS, cache=BYPASS)
        for size in (1, 10):
            messages = await service.messages(spec, page_size=size, cache=BYPASS)
            found = [number for m in messages for number in numbers(m.items, "at")]
            spent = messages[-1].cumulative
            show_line(
                f"stream by {size}, {share} of {_ITEMS} items match, {partitions} partitions: "
                f"{spent.read_units} units, {spent.backend_calls} requests "
                f"(pages of {_ITEMS}: {whole.cumulative.read_units})"
            )
            assert found == sorted(found, reverse=order == Order.ORDER_DESCENDING)
            assert len(found) == whole.cumulative.items_returned
            assert spent.items_scanned == _ITEMS
            # A request takes 4 KB more or less, and there are at most 100 items to one.
            allowed = partitions * 8 * _REQUEST_UNITS
            assert spent.read_units <= 2 * whole.cumulative.read_units + allowed


async def test_a_small_page_of_filtered_partitions_costs_one_pass(
    service: Service, show_line: Callable[[str], None]
) -> None:
    """Its first match may be anywhere in each of them."""
    for share, condition in _CONDITIONS.items():
        spec = query_spec("costs", _expression(_PARTITIONS, condition))
        page = await service.query(spec, page_size=1, cache=BYPASS)
        exact = await service.count(spec, cache=BYPASS)
        show_line(
            f"page of 1, {share} of {_ITEMS} items match, {_PARTITIONS} partitions: "
            f"{page.stats.read_units} units, {page.stats.backend_calls} requests "
            f"(exact count: {exact.stats.read_units})"
        )
        assert page.stats.read_units <= exact.stats.read_units + _REQUEST_UNITS


async def test_a_stream_with_a_budget_is_not_read_ahead(service: Service) -> None:
    """Every item that the budget pays for is delivered."""
    spec = query_spec("costs", "id = 'one'")
    for budget in (Budget(max_scanned_items=20), Budget(max_read_units=5)):
        messages = await service.messages(spec, page_size=1, cache=BYPASS, budget=budget)
        spent = messages[-1].cumulative
        assert spent.items_returned >= min(spent.items_scanned, 10)
        assert spent.items_scanned - spent.items_returned <= 1


async def test_large_items_are_not_read_ahead(service: Service) -> None:
    """A stream that ends after three of them has read one more at most."""
    spec = query_spec("large", "id = 'large'", max_items=3)
    *_, last = await service.messages(spec, page_size=1, cache=BYPASS)
    assert last.cumulative.items_returned == 3
    assert last.cumulative.items_scanned <= 4
