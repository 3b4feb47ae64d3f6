"""All pages together equal the brute-force answer, for any query and any paging."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path as FilePath
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.datasets import DataSet, make_dataset
from tests.support.dynamodb import load, open_client
from tests.support.event_service import NO_LIMITS
from tests.support.paging import Case
from tests.support.processes import served
from tests.support.random_queries import Variant, random_queries

# 40 data sets with 60 queries each; the deep profile runs ten times as many.
SEEDS: Final = range(40)
QUERIES: Final = settings().max_examples * 3 // 5
WANTED: Final = settings().max_examples * 20
KEY: Final = ApiKey("properties")


@pytest.fixture(scope="module")
def datasets(dynamodb_local: str) -> dict[int, DataSet]:
    """Every data set, loaded into DynamoDB Local."""
    client = open_client(dynamodb_local)
    made = {seed: make_dataset(seed) for seed in SEEDS}
    for data in made.values():
        load(client, data)
    return made


@pytest.fixture(scope="module")
def address(
    datasets: dict[int, DataSet], dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server that knows every data set in every variant."""
    directory: FilePath = tmp_path_factory.mktemp("properties")
    no_limit = {"DYNAMODB_PROCESSOR_RATE_CLASSES": NO_LIMITS}
    with served(
        _catalog(datasets), keys_file(KEY), directory, endpoint_url=dynamodb_local, env=no_limit
    ) as server:
        yield server.address


def _catalog(datasets: dict[int, DataSet]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for data in datasets.values():
        name = data.schema.table
        tables[name + Variant.ALLOWING.value] = {"table": name, "sparse": "allow"}
        tables[name + Variant.VOUCHING.value] = {"table": name, "required": sorted(data.always)}
    # The strict variants are discovered under the names that the tables have.
    return {"tables": tables, "discover": ["cases-*"]}


@pytest.fixture(scope="module")
def case_counts(show_line: Callable[[str], None], examples_seed: str) -> Iterator[Counter[str]]:
    """Counts of the cases' results, printed and checked at the end."""
    counts: Counter[str] = Counter()
    yield counts
    show_line(
        f"paging property, {examples_seed}: "
        f"{counts['compared']} cases compared on {counts['data sets']} data sets, "
        f"{counts['mismatches']} mismatches; {counts['refused']} refused as they must or may be, "
        f"{counts['left out']} left out for a defect of DynamoDB Local; "
        f"{counts['items']} items expected, {counts['empty']} empty answers, "
        f"{counts['pages']} pages; {counts['fan-outs']} read several partitions, "
        f"{counts['gets']} got one item, {counts['hydrated']} got what an index lacks, "
        f"{counts['long']} had more than 100 operands, "
        f"{counts['wide']} read an index with 3 to 8 key attributes"
    )
    if counts["data sets"] == len(SEEDS):
        assert counts["compared"] >= WANTED


@pytest.fixture
async def caller(address: str) -> AsyncIterator[Caller]:
    """A caller of the server."""
    async with open_caller(address, KEY.text) as opened:
        yield opened


@pytest.mark.parametrize("seed", SEEDS)
@settings(
    max_examples=QUERIES,
    # The fixtures hold no state that one query could leave for the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=st.data())
async def test_pages_equal_brute_force(
    seed: int,
    datasets: dict[int, DataSet],
    caller: Caller,
    case_counts: Counter[str],
    drawn: st.DataObject,
) -> None:
    """Concatenated, resumed and re-paged answers equal the oracle's, or the refusal is due."""
    data = datasets[seed]
    case_counts["data sets"] = max(case_counts["data sets"], seed + 1)
    case = Case(data, drawn.draw(random_queries(data)), caller, case_counts)
    try:
        await case.check()
    except AssertionError:
        case_counts["mismatches"] += 1
        raise
