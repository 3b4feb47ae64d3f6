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
from tests.support.complete_reads import PagedRead, by_pages, by_stream, joined
from tests.support.conditions import WireItem
from tests.support.datasets import DataSet, Index
from tests.support.local_defects import loses_ties
from tests.support.messages import spec
from tests.support.oracle import Expected, canonical_item, expected
from tests.support.random_queries import (
    RandomQuery,
    Servability,
    Variant,
    has_long_in,
    holds_all,
    names_one_item,
    partitions_at_most,
)
from tests.support.random_queries import servability as servability_of

# Small pages of large answers would only repeat themselves.
MOST_PAGES: Final = 8
REFUSALS: Final = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.INVALID_ARGUMENT)


@dataclass(frozen=True, slots=True)
class Case:
    """One query of one data set.

    `counts` has the results: cases compared or refused, items, pages and kinds of reads.
    """

    data: DataSet
    query: RandomQuery
    caller: Caller
    counts: Counter[str]
    # By index: checking every item takes longer than a call of the service.
    _answers: dict[str, Expected] = field(default_factory=dict, init=False)

    async def check(self) -> bool:
        """Return whether there was an answer to compare; AssertionError if it is wrong."""
        servability = self.servability()
        streamed = await self._answer()
        if isinstance(streamed, grpc.aio.AioRpcError):
            assert streamed.code() in REFUSALS, streamed
            assert servability is not Servability.ANSWER, streamed.details()
            self.counts["refused"] += 1
            return False
        assert servability is not Servability.REFUSAL, f"read from {streamed.index or 'the table'}"
        if loses_ties(self.query, self.data, self.data.schema.index(streamed.index)):
            self.counts["left out"] += 1
            return False
        self._check_answer(streamed)
        await asyncio.gather(
            self._check_other_pages(streamed),
            self._check_resumed(streamed),
            self._check_total(streamed),
        )
        self._count(streamed)
        return True

    def servability(self) -> Servability:
        """Return whether the design lets the service serve the query."""
        return servability_of(self.query, self.data)

    def right(self, index: Index) -> Expected:
        """Return the right answer as it is read from an index."""
        query = self.query
        return expected(
            self.shown_by(index),
            query.condition,
            index.sort,
            descending=query.descending,
            projection=query.projection,
        )

    def shown_by(self, index: Index) -> Iterable[WireItem]:
        """Return the items from which a query of an index selects."""
        # Unforced, a sparse index must not hide anything unless the catalog says that it may.
        query = self.query
        sparse = bool(query.index) or query.variant is Variant.ALLOWING
        return self.data.held_by(index) if sparse else self.data.items

    def _right(self, index: Index) -> Expected:
        known = self._answers.get(index.name)
        if known is None:
            known = self._answers[index.name] = self.right(index)
        return known

    def _count(self, streamed: PagedRead) -> None:
        condition = self.query.condition
        self.counts["compared"] += 1
        self.counts["pages"] += len(streamed.tokens)
        self.counts["fan-outs"] += partitions_at_most(condition, self.data) > 1
        self.counts["gets"] += not streamed.index and names_one_item(condition, self.data)
        index = self.data.schema.index(streamed.index)
        self.counts["hydrated"] += not index.local and not holds_all(self.query, self.data, index)
        self.counts["long"] += has_long_in(condition)
        self.counts["wide"] += self.data.schema.index(streamed.index).is_wide

    async def _answer(self) -> PagedRead | grpc.aio.AioRpcError:
        try:
            return await by_stream(self.caller, self.message, self.page_size, mode=self.mode)
        except grpc.aio.AioRpcError as refusal:
            return refusal

    def _check_answer(self, answer: PagedRead) -> None:
        query, schema = self.query, self.data.schema
        index = schema.index(answer.index)
        assert not query.index or index == schema.index(query.index)
        right = self._right(index)
        wrong = right.mismatch(answer.items, query.max_items)
        assert wrong is None, f"{wrong}, read from {answer.index or 'the table'}"
        self.counts["items"] += len(answer.items)
        self.counts["empty"] += not answer.items

    async def _check_total(self, first: PagedRead) -> None:
        """The total is the oracle's number of items, with any page size and `max_items`."""
        page = await self.caller.query(
            QueryRequest(
                query=self.message,
                page_size=1,
                total=TotalOptions(mode=TotalMode.TOTAL_MODE_EXACT),
                cache=CachePolicy(mode=self.mode),
            )
        )
        right = self._right(self.data.schema.index(first.index)).total
        assert page.total.relation == TotalRelation.TOTAL_RELATION_EXACT
        assert page.total.value == right, f"a total of {page.total.value} instead of {right}"

    async def _check_other_pages(self, first: PagedRead) -> None:
        """Pages of another size, under a budget perhaps, must add up to the very same sequence."""
        size = self._bounded(self.query.other_page_size)
        at_most = self.query.max_scanned_items
        budget = None if at_most is None else Budget(max_scanned_items=at_most)
        partitions = partitions_at_most(self.query.condition, self.data)
        paged = await by_pages(
            self.caller, self.message, size, budget=budget, partitions=partitions, mode=self.mode
        )
        assert _same(paged.items, first.items), f"pages of {size} differ from {first.page_size}"
        assert budget is not None or set(paged.sizes[:-1]) <= {size}

    async def _check_resumed(self, first: PagedRead) -> None:
        """A stream cut after any message goes on without a gap, as a stream or by pages."""
        cut = int(self.query.cut * len(first.tokens))
        token = first.tokens[cut]
        if not token:
            return
        go_on = by_stream if cut % 2 else by_pages
        size = self._bounded(self.query.other_page_size)
        rest = await go_on(self.caller, self.message, size, token=token, mode=self.mode)
        whole = joined(first.items_until(cut), rest.items)
        assert _same(whole, first.items), f"resumed after message {cut + 1} it differs"

    @property
    def message(self) -> QuerySpec:
        """The query as it is sent to the service."""
        query = self.query
        return spec(
            self.data.schema.table + query.variant.value,
            query.condition,
            index=query.index,
            descending=query.descending,
            projection=query.projection,
            strong=query.strong,
            max_items=query.max_items,
        )

    @property
    def mode(self) -> CacheMode.ValueType:
        """Whether the cache may answer."""
        cached = self.query.cached
        return CacheMode.CACHE_MODE_DEFAULT if cached else CacheMode.CACHE_MODE_BYPASS

    @property
    def page_size(self) -> int:
        """The page size of the first read."""
        return self._bounded(self.query.page_size)

    def _bounded(self, page_size: int) -> int:
        total = self._right(self.data.schema.index("")).total
        return max(page_size, ceil(total / MOST_PAGES))


def _same(one: list[WireItem], other: list[WireItem]) -> bool:
    return list(map(canonical_item, one)) == list(map(canonical_item, other))
