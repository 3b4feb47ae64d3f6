"""Tests that bounded counts cost no more than exact ones, for matches of any number and place."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import pytest
import pytest_asyncio

from dynamodb_processor.v1.query_pb2 import QuerySpec, TotalOptions, TotalRelation
from tests.rpc.counting import BYPASS, up_to
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.running import Service, open_service, query_spec

pytestmark = pytest.mark.asyncio(loop_scope="module")

_ITEMS: Final = 3_000
_PARTITIONS: Final = 50
_REQUEST_UNITS: Final = 0.5  # the least that an eventual read takes
_FILTERS: Final = {
    "none": ("tenth < 0", 0),
    "1 %": ("hundredth = 7", _ITEMS // 100),
    "half": ("tenth < 5", _ITEMS // 2),
    "all": ("tenth >= 0", _ITEMS),
}
_BOUNDS: Final = (1, 10, 100, 1_000, 5_000)


def _items() -> Iterator[WireItem]:
    for number in range(_ITEMS):
        rest = {"at": {"N": str(number)}, "tenth": {"N": str(number % 10)}}
        rest["hundredth"] = {"N": str(number % 100)}
        yield {"id": {"S": "one"}, **rest}
        yield {"id": {"S": f"p-{number % _PARTITIONS}"}, **rest}


@pytest.fixture(scope="module")
def table(dynamodb_local: str) -> Iterator[str]:
    """A table of 3,000 items in one partition, and of the same ones in fifty."""
    name = f"rpc-costs-{uuid.uuid4().hex[:8]}"
    client = open_client(dynamodb_local)
    create_table(client, Schema(name, "id", "at", (), {"id": "S", "at": "N"}))
    put_items(client, name, _items())
    yield name
    client.delete_table(TableName=name)
    client.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def counted(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str, table: str
) -> AsyncIterator[Service]:
    """A server of that table."""
    directory = tmp_path_factory.mktemp("counted")
    catalog = {"tables": {"costs": {"table": table}}}
    async with open_service(directory, dynamodb_local, catalog) as service:
        yield service


@pytest.mark.parametrize("partitions", [1, _PARTITIONS])
async def test_a_bounded_count_costs_the_exact_one_and_a_request_at_most(
    counted: Service, partitions: int, show_line: Callable[[str], None]
) -> None:
    """Filters match none, 1 %, half and all, in CountItems and in a page's `total`."""
    names = ["one"] if partitions == 1 else [f"p-{number}" for number in range(partitions)]
    listed = ", ".join(f"'{name}'" for name in names)
    for share, (condition, matches) in _FILTERS.items():
        spec = query_spec("costs", f"id IN ({listed}) AND {condition}")
        exact = await counted.count(spec, cache=BYPASS)
        # Pages of one item, of which the first is read beside the total.
        page = await _page_units(counted, spec, None)
        allowed = exact.stats.read_units + _REQUEST_UNITS
        assert exact.total.value == matches
        for bound in _BOUNDS:
            bounded = await counted.count(spec, total=up_to(bound), cache=BYPASS)
            show_line(
                f"count(up_to={bound}), {share} of {_ITEMS} items match, {partitions} partitions: "
                f"{bounded.stats.read_units} units, {bounded.stats.backend_calls} requests "
                f"(exact: {exact.stats.read_units}, {exact.stats.backend_calls})"
            )
            assert bounded.total.value == min(matches, bound)
            exactly = bounded.total.relation == TotalRelation.TOTAL_RELATION_EXACT
            assert exactly or matches >= bound
            assert bounded.stats.read_units <= allowed
            assert bounded.stats.backend_calls <= exact.stats.backend_calls + 1
            both = await _page_units(counted, spec, up_to(bound))
            assert both - page <= allowed


async def _page_units(service: Service, spec: QuerySpec, total: TotalOptions | None) -> float:
    page = await service.query(spec, page_size=1, total=total, cache=BYPASS)
    return page.stats.read_units
