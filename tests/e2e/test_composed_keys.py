"""Single-table designs answer queries on logical attributes as brute force does."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamodb_processor.v1.query_service_pb2 import ExplainQueryRequest, ExplainQueryResponse
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.composed import ComposedData, make_composed
from tests.support.composed_queries import ComposedQuery, composed_queries, servability
from tests.support.datasets import Index
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import NO_LIMITS
from tests.support.oracle import Expected, expected, projected
from tests.support.paging import Case
from tests.support.processes import served
from tests.support.random_queries import Servability, Variant

# 8 data sets with 40 queries each; the deep profile runs ten times as many.
SEEDS: Final = range(8)
QUERIES: Final = settings().max_examples * 2 // 5
WANTED: Final = settings().max_examples * 2
KEY: Final = ApiKey("composed")


@pytest.fixture(scope="module")
def datasets(dynamodb_local: str) -> dict[int, ComposedData]:
    """Every data set, loaded into DynamoDB Local."""
    client = open_client(dynamodb_local)
    made = {seed: make_composed(seed) for seed in SEEDS}
    for data in made.values():
        create_table(client, data.stored)
        put_items(client, data.stored.table, data.rows)
    return made


@pytest.fixture(scope="module")
def address(
    datasets: dict[int, ComposedData],
    dynamodb_local: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """The address of a server that knows every data set in every variant."""
    directory: FilePath = tmp_path_factory.mktemp("composed")
    no_limit = {"DYNAMODB_PROCESSOR_RATE_CLASSES": NO_LIMITS}
    with served(
        _catalog(datasets), keys_file(KEY), directory, endpoint_url=dynamodb_local, env=no_limit
    ) as server:
        yield server.address


def _catalog(datasets: dict[int, ComposedData]) -> dict[str, Any]:
    tables: dict[str, Any] = {}
    for data in datasets.values():
        name, config = data.schema.table, data.declaration
        tables[name + Variant.STRICT.value] = config
        tables[name + Variant.ALLOWING.value] = {**config, "sparse": "allow"}
        tables[name + Variant.VOUCHING.value] = {**config, "required": sorted(data.always)}
    return {"tables": tables}


@pytest.fixture(scope="module")
def case_counts(show_line: Callable[[str], None], examples_seed: str) -> Iterator[Counter[str]]:
    """Counts of the cases' results, printed and checked at the end."""
    counts: Counter[str] = Counter()
    yield counts
    asked = sum(f"data set {seed}" in counts for seed in SEEDS)
    show_line(
        f"composed keys property, {examples_seed}: "
        f"{counts['compared']} cases compared on {asked} single-table designs, "
        f"{counts['mismatches']} mismatches; {counts['refused']} refused as they must or may be, "
        f"of them {counts['invalid']} for an impossible key or time; "
        f"{counts['items']} items expected, {counts['empty']} empty answers, "
        f"{counts['pages']} pages; {counts['ranges']} had ranges pushed into composed sort keys, "
        f"{counts['fan-outs']} read several partitions, {counts['gets']} got one item, "
        f"{counts['hydrated']} got what an index lacks"
    )
    if asked == len(SEEDS):
        assert counts["compared"] >= WANTED
        assert counts["ranges"] >= counts["compared"] // 10


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
async def test_logical_queries_equal_brute_force(
    seed: int,
    datasets: dict[int, ComposedData],
    caller: Caller,
    case_counts: Counter[str],
    drawn: st.DataObject,
) -> None:
    """The answer is exact for any composed keys, any stored timestamps and any page sizes."""
    data = datasets[seed]
    case_counts[f"data set {seed}"] += 1
    case = _ComposedCase(data, drawn.draw(composed_queries(data)), caller, case_counts)
    try:
        if await case.check():
            await case.count_ranges()
    except AssertionError:
        case_counts["mismatches"] += 1
        raise


@dataclass(frozen=True, slots=True)
class _ComposedCase(Case):
    """One query of one single-table design."""

    data: ComposedData
    query: ComposedQuery

    def servability(self) -> Servability:
        found = servability(self.query, self.data)
        self.counts["invalid"] += self.query.invalid
        return found

    def right(self, index: Index) -> Expected:
        query, data = self.query, self.data
        found = expected(
            self.shown_by(index),
            query.truth,
            data.stored.index(index.name).sort,
            descending=query.descending,
        )
        return Expected(
            tuple(
                tuple(projected(data.shown(item), query.projection) for item in group)
                for group in found.groups
            )
        )

    async def count_ranges(self) -> None:
        """Count the query if a condition on fields became a range of a composed sort key."""
        request = ExplainQueryRequest(query=self.message).SerializeToString()
        plan = ExplainQueryResponse.FromString(await self.caller.raw("ExplainQuery", request))
        composed = [n for n in self.data.stored.index(plan.index).sort if n in self.data.templates]
        range_of = re.compile(rf"\b({'|'.join(composed)}) (<|>|BETWEEN)|begins_with\(")
        self.counts["ranges"] += bool(composed and range_of.search(plan.key_condition))
