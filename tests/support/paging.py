"""One random query sent to the service with every way of paging, and compared with the oracle."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from typing import Final

import grpc

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
from tests.support.channels import Caller
from tests.support.conditions import WireItem
from tests.support.datasets import DataSet, Index
from tests.support.local_defects import loses_ties
from tests.support.messages import spec
from tests.support.oracle import Expected, canonical_item, expected
from tests.support.questions import (
    Question,
    Variant,
    Verdict,
    has_long_in,
    holds_all,
    names_one_item,
    partitions_at_most,
)
from tests.support.questions import verdict as verdict_on
from tests.support.traversals import Traversal, by_pages, by_stream, joined

# Small pages of large answers would only repeat themselves.
MOST_PAGES: Final = 8
REFUSALS: Final = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)


@dataclass(frozen=True, slots=True)
class Case:
    """One query of one data set.

    `counts` has the results: cases compared or refused, items, pages and kinds of reads.
    """

    data: DataSet
    question: Question
    caller: Caller
    tally: Counter[str]
    # By index: checking every item takes longer than a call of the service.
    _answers: dict[str, Expected] = field(default_factory=dict, init=False)

    async def check(self) -> bool:
        """Return whether there was an answer to compare; AssertionError if it is wrong."""
        verdict = self.verdict()
        streamed = await self._answer()
        if isinstance(streamed, grpc.aio.AioRpcError):
            assert streamed.code() in REFUSALS, streamed
            assert verdict is not Verdict.ANSWER, streamed.details()
            self.tally["refused"] += 1
            return False
        assert verdict is not Verdict.REFUSAL, f"read from {streamed.index or 'the table'}"
        if loses_ties(self.question, self.data, self.data.schema.index(streamed.index)):
            self.tally["left out"] += 1
            return False
        self._check_answer(streamed)
        await asyncio.gather(
            self._check_other_pages(streamed),
            self._check_resumed(streamed),
            self._check_total(streamed),
        )
        self._count(streamed)
        return True

    def verdict(self) -> Verdict:
        """Return whether the design lets the service serve the query."""
        return verdict_on(self.question, self.data)

    def right(self, index: Index) -> Expected:
        """Return the right answer as it is read from an index."""
        question = self.question
        return expected(
            self.shown_by(index),
            question.condition,
            index.sort,
            descending=question.descending,
            projection=question.projection,
        )

    def shown_by(self, index: Index) -> Iterable[WireItem]:
        """Return the items from which a query of an index selects."""
        # Unforced, a sparse index must not hide anything unless the catalog says that it may.
        question = self.question
        sparse = bool(question.index) or question.variant is Variant.ALLOWING
        return self.data.held_by(index) if sparse else self.data.items

    def _right(self, index: Index) -> Expected:
        known = self._answers.get(index.name)
        if known is None:
            known = self._answers[index.name] = self.right(index)
        return known

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

    async def _check_total(self, first: Traversal) -> None:
        """The total is the oracle's number of items, with any page size and `max_items`."""
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
        """The query as it is sent to the service."""
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
        """Whether the cache may answer."""
        cached = self.question.cached
        return CacheMode.CACHE_MODE_DEFAULT if cached else CacheMode.CACHE_MODE_BYPASS

    @property
    def page_size(self) -> int:
        """The page size of the first read."""
        return self._bounded(self.question.page_size)

    def _bounded(self, page_size: int) -> int:
        total = self._right(self.data.schema.index("")).total
        return max(page_size, ceil(total / MOST_PAGES))


def _same(one: list[WireItem], other: list[WireItem]) -> bool:
    return list(map(canonical_item, one)) == list(map(canonical_item, other))
