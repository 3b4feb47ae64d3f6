"""Pages put together equal the brute-force answer, whatever is asked and however it is paged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from math import ceil
from pathlib import Path as FilePath
from typing import Any, Final

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dynamodb_processor.v1.query_pb2 import (
    Budget,
    CacheMode,
    CachePolicy,
    QuerySpec,
    TotalMode,
    TotalOptions,
    TotalRelation,
)
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.conditions import WireItem
from tests.support.datasets import DataSet, Index, make_dataset
from tests.support.dynamodb import load, open_client
from tests.support.local_defects import loses_ties
from tests.support.messages import spec
from tests.support.oracle import Expected, canonical_item, expected
from tests.support.processes import served
from tests.support.questions import (
    Question,
    Variant,
    Verdict,
    has_long_in,
    holds_all,
    names_one_item,
    partitions_at_most,
    questions,
)
from tests.support.questions import verdict as verdict_on
from tests.support.traversals import Traversal, by_pages, by_stream, joined

# 40 data sets with 60 questions each; the deep profile asks ten times as many.
SEEDS: Final = range(40)
QUESTIONS: Final = settings().max_examples * 3 // 5
WANTED: Final = settings().max_examples * 20
# Small pages of large answers would only repeat themselves.
MOST_PAGES: Final = 8
KEY: Final = ApiKey("properties")
REFUSALS: Final = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)


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
    no_limit = {"DYNAMODB_PROCESSOR_RATE_CLASSES": '{"default": {"calls_per_second": 1000000}}'}
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
def tally(show_line: Callable[[str], None], examples_seed: str) -> Iterator[Counter[str]]:
    """Counts of what the cases came to, printed and checked at the end."""
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
    max_examples=QUESTIONS,
    # The fixtures hold no state that one question could leave for the next.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(drawn=st.data())
async def test_pages_equal_brute_force(
    seed: int,
    datasets: dict[int, DataSet],
    caller: Caller,
    tally: Counter[str],
    drawn: st.DataObject,
) -> None:
    """Concatenated, resumed and re-paged answers equal the oracle's, or the refusal is due."""
    data = datasets[seed]
    tally["data sets"] = max(tally["data sets"], seed + 1)
    case = _Case(data, drawn.draw(questions(data)), caller, tally)
    try:
        await case.check()
    except AssertionError:
        tally["mismatches"] += 1
        raise


@dataclass(frozen=True, slots=True)
class _Case:
    """One question put to one data set."""

    data: DataSet
    question: Question
    caller: Caller
    tally: Counter[str]

    async def check(self) -> None:
        verdict = verdict_on(self.question, self.data)
        streamed = await self._answer()
        if isinstance(streamed, grpc.aio.AioRpcError):
            assert streamed.code() in REFUSALS, streamed
            assert verdict is not Verdict.ANSWER, streamed.details()
            self.tally["refused"] += 1
            return
        assert verdict is not Verdict.REFUSAL, f"read from {streamed.index or 'the table'}"
        if loses_ties(self.question, self.data, self.data.schema.index(streamed.index)):
            self.tally["left out"] += 1
            return
        self._check_answer(streamed)
        await asyncio.gather(
            self._check_other_pages(streamed),
            self._check_resumed(streamed),
            self._check_total(streamed),
        )
        self._count(streamed)

    def _count(self, streamed: Traversal) -> None:
        condition = self.question.condition
        self.tally["compared"] += 1
        self.tally["pages"] += len(streamed.tokens)
        self.tally["fan-outs"] += partitions_at_most(condition, self.data) > 1
        self.tally["gets"] += not streamed.index and names_one_item(condition, self.data)
        index = self.data.schema.index(streamed.index)
        self.tally["hydrated"] += not index.local and not holds_all(self.question, self.data, index)
        self.tally["long"] += has_long_in(condition)
        self.tally["wide"] += self.data.schema.index(streamed.index).is_wide

    async def _answer(self) -> Traversal | grpc.aio.AioRpcError:
        try:
            return await by_stream(self.caller, self.query, self.page_size, mode=self.mode)
        except grpc.aio.AioRpcError as refusal:
            return refusal

    def _check_answer(self, answer: Traversal) -> None:
        question, schema = self.question, self.data.schema
        index = schema.index(answer.index)
        assert not question.index or index == schema.index(question.index)
        right = self._right(index)
        wrong = right.mismatch(answer.items, question.max_items)
        assert wrong is None, f"{wrong}, read from {answer.index or 'the table'}"
        self.tally["items"] += len(answer.items)
        self.tally["empty"] += not answer.items

    def _right(self, index: Index) -> Expected:
        question = self.question
        # Unforced, a sparse index must not hide anything unless the catalog says that it may.
        sparse = bool(question.index) or question.variant is Variant.ALLOWING
        return expected(
            self.data.held_by(index) if sparse else self.data.items,
            question.condition,
            index.sort,
            descending=question.descending,
            projection=question.projection,
        )

    async def _check_total(self, first: Traversal) -> None:
        """The total counts what the oracle finds, whatever the page and `max_items`."""
        page = await self.caller.query(
            QueryRequest(
                query=self.query,
                page_size=1,
                total=TotalOptions(mode=TotalMode.TOTAL_MODE_EXACT),
                cache=CachePolicy(mode=self.mode),
            )
        )
        right = self._right(self.data.schema.index(first.index)).total
        assert page.total.relation == TotalRelation.TOTAL_RELATION_EXACT
        assert page.total.value == right, f"a total of {page.total.value} instead of {right}"

    async def _check_other_pages(self, first: Traversal) -> None:
        """Pages of another size, under a budget perhaps, must add up to the very same sequence."""
        size = self._bounded(self.question.other_page_size)
        at_most = self.question.max_scanned_items
        budget = None if at_most is None else Budget(max_scanned_items=at_most)
        partitions = partitions_at_most(self.question.condition, self.data)
        paged = await by_pages(
            self.caller, self.query, size, budget=budget, partitions=partitions, mode=self.mode
        )
        assert _same(paged.items, first.items), f"pages of {size} differ from {first.page_size}"
        assert budget is not None or set(paged.sizes[:-1]) <= {size}

    async def _check_resumed(self, first: Traversal) -> None:
        """A stream cut after any message goes on without a gap, as a stream or by pages."""
        cut = int(self.question.cut * len(first.tokens))
        token = first.tokens[cut]
        if not token:
            return
        go_on = by_stream if cut % 2 else by_pages
        size = self._bounded(self.question.other_page_size)
        rest = await go_on(self.caller, self.query, size, token=token, mode=self.mode)
        whole = joined(first.items_until(cut), rest.items)
        assert _same(whole, first.items), f"resumed after message {cut + 1} it differs"

    @property
    def query(self) -> QuerySpec:
        question = self.question
        return spec(
            self.data.schema.table + question.variant.value,
            question.condition,
            index=question.index,
            descending=question.descending,
            projection=question.projection,
            strong=question.strong,
            max_items=question.max_items,
        )

    @property
    def mode(self) -> CacheMode.ValueType:
        cached = self.question.cached
        return CacheMode.CACHE_MODE_DEFAULT if cached else CacheMode.CACHE_MODE_BYPASS

    @property
    def page_size(self) -> int:
        return self._bounded(self.question.page_size)

    def _bounded(self, page_size: int) -> int:
        total = expected(self.data.items, self.question.condition, ()).total
        return max(page_size, ceil(total / MOST_PAGES))


def _same(one: list[WireItem], other: list[WireItem]) -> bool:
    return list(map(canonical_item, one)) == list(map(canonical_item, other))
