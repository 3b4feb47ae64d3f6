"""A small service that keeps the contract, and breaks it where a test requires it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.cache_service_pb2 import (
    GetCacheStatsRequest,
    GetCacheStatsResponse,
    InvalidateCacheRequest,
    InvalidateCacheResponse,
)
from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceServicer
from dynamodb_processor.v1.catalog_service_pb2 import (
    GetTableRequest,
    GetTableResponse,
    ListTablesRequest,
    ListTablesResponse,
)
from dynamodb_processor.v1.catalog_service_pb2_grpc import CatalogServiceServicer
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    CountItemsResponse,
    ExplainQueryRequest,
    ExplainQueryResponse,
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceServicer
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.support.gate import Gate

DEFAULT_PAGE_SIZE = 100

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class Failure:
    """The status of a failed call, with details and other trailing metadata."""

    code: grpc.StatusCode
    message: str = "broken"
    details: tuple[Message, ...] = ()
    trailers: tuple[tuple[str, str | bytes], ...] = ()

    async def fail(self, context: Context) -> None:
        """End the call with the status."""
        status = Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        encoded = ("grpc-status-details-bin", status.SerializeToString())
        trailers = (*self.trailers, encoded) if self.details else self.trailers
        await context.abort(self.code, self.message, trailers)


BROKEN = Failure(grpc.StatusCode.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Cut:
    """A break of a stream: after a number of messages, with a failure or silently without one."""

    after: int
    failure: Failure | None = BROKEN


@dataclass
class FakeService(QueryServiceServicer, CatalogServiceServicer, CacheServiceServicer):
    """A service with one table of numbered items; its tokens are `offset:remaining items`.

    Attributes:
        items: The table.
        cuts: The breaks of the next streams, one each; later streams do not break.
        failures: The failures of the next unary calls, one each.
        time_limit: Messages after which the server's own time limit ends a stream.
        hang_after: Messages after which a stream waits for ever.
        left: Set when the caller has cancelled a stream that waits for ever.
        forgets_last: Whether streams break after the last item, before the last message.
        counted_at_once: Items that one call counts before its simulated time limit.
        got_at_once: Keys that one call gets; it defers the others.
        explanation: The answer to `ExplainQuery`.
        gates: Where the next calls of `Query` wait before their answers, one each.
        freshness_tokens: Freshness tokens of the next answers or messages of streams, one each;
            later ones have none.
    """

    items: Sequence[Item]
    address: str = ""
    cuts: deque[Cut] = field(default_factory=deque)
    failures: deque[Failure] = field(default_factory=deque)
    time_limit: int | None = None
    hang_after: int | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)
    forgets_last: bool = False
    counted_at_once: int | None = None
    got_at_once: int | None = None
    explanation: ExplainQueryResponse = field(default_factory=ExplainQueryResponse)
    tables: ListTablesResponse = field(default_factory=ListTablesResponse)
    table: GetTableResponse = field(default_factory=GetTableResponse)
    gates: deque[Gate] = field(default_factory=deque)
    freshness_tokens: deque[str] = field(default_factory=deque)
    invalidations: list[InvalidateCacheRequest] = field(default_factory=list)
    cache_stats: GetCacheStatsResponse = field(default_factory=GetCacheStatsResponse)
    requests: list[QueryRequest] = field(default_factory=list)
    stream_requests: list[StreamQueryRequest] = field(default_factory=list)
    count_requests: list[CountItemsRequest] = field(default_factory=list)
    batch_requests: list[BatchGetItemsRequest] = field(default_factory=list)
    explain_requests: list[ExplainQueryRequest] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)

    async def Query(self, request: QueryRequest, context: Context) -> QueryResponse:  # noqa: N802 - the contract's name
        """Answer with one page."""
        await self._begin(context)
        self.requests.append(request)
        if self.gates:
            await self.gates.popleft().wait()
        page = next(_pages(self.items, request.query, request.page_size, request.page_token))
        return QueryResponse(
            items=page.items,
            next_page_token=page.resume_token,
            end=page.end,
            stats=page.stats,
            cache=page.cache,
            read_time=page.read_time,
            total=self._total(request),
            freshness_token=self._freshness_token(),
        )

    async def StreamQuery(  # noqa: N802 - the contract's name
        self, request: StreamQueryRequest, context: Context
    ) -> AsyncIterator[StreamQueryResponse]:
        """Answer with every page, up to the next cut."""
        self._note(context)
        self.stream_requests.append(request)
        cut = self.cuts.popleft() if self.cuts else None
        total = query_pb2.PageStats()
        pages = _pages(self.items, request.query, request.page_size, request.resume_token)
        for sequence, message in enumerate(pages, start=1):
            if cut is not None and cut.after < sequence:
                break
            _count(total, message)
            message.sequence = sequence
            counted = self._total(request)
            if counted is not None:
                message.total.CopyFrom(counted)
            message.cumulative.CopyFrom(total)
            message.freshness_token = self._freshness_token()
            self._end_early(request, message)
            message.last = message.last and not self.forgets_last
            yield message
            if message.last:
                return
            if sequence == self.hang_after:
                try:
                    await _wait_for_ever()
                finally:
                    self.left.set()
        if cut is not None and cut.failure is not None:
            await cut.failure.fail(context)

    async def CountItems(  # noqa: N802 - the contract's name
        self, request: CountItemsRequest, context: Context
    ) -> CountItemsResponse:
        """Answer with the number of items up to the bound, or up to `counted_at_once`."""
        await self._begin(context)
        self.count_requests.append(request)
        start, bound = int(request.page_token or 0), request.total.up_to or len(self.items)
        counted = min(start + (self.counted_at_once or len(self.items)), bound, len(self.items))
        is_complete = counted == len(self.items)
        response = CountItemsResponse(end=query_pb2.PAGE_END_EXHAUSTED)
        response.total.value = counted
        response.total.relation = query_pb2.TOTAL_RELATION_EXACT
        if not is_complete:
            response.total.relation = query_pb2.TOTAL_RELATION_AT_LEAST
            response.end = query_pb2.PAGE_END_PAGE_FULL
            if counted < bound:
                response.end = query_pb2.PAGE_END_TIME_BUDGET
                response.next_page_token = str(counted)
        response.freshness_token = self._freshness_token()
        response.stats.items_scanned = counted - start
        response.stats.backend_calls = 1
        response.cache.status = query_pb2.CACHE_STATUS_MISS
        response.read_time.FromSeconds(1_700_000_000)
        return response

    async def BatchGetItems(  # noqa: N802 - the contract's name
        self, request: BatchGetItemsRequest, context: Context
    ) -> BatchGetItemsResponse:
        """Answer with the items whose `n` the keys name; defer keys beyond `got_at_once`."""
        await self._begin(context)
        self.batch_requests.append(request)
        held = {item.attributes["n"].n: item for item in self.items}
        response = BatchGetItemsResponse(freshness_token=self._freshness_token())
        for index, key in enumerate(request.keys):
            # A look-up of a missing attribute would add it.
            number = key.attributes["n"].n if "n" in key.attributes else ""
            result, item = response.results.add(), held.get(number)
            if self.got_at_once is not None and index >= self.got_at_once:
                result.deferred_key.CopyFrom(key)
            elif item is None:
                result.missing_key.CopyFrom(key)
            else:
                result.item.CopyFrom(item)
        return response

    async def ExplainQuery(  # noqa: N802 - the contract's name
        self, request: ExplainQueryRequest, context: Context
    ) -> ExplainQueryResponse:
        """Answer with the explanation."""
        await self._begin(context)
        self.explain_requests.append(request)
        return self.explanation

    async def ListTables(  # noqa: N802 - the contract's name
        self, request: ListTablesRequest, context: Context
    ) -> ListTablesResponse:
        """Answer with one table of the listing; the token is its index."""
        await self._begin(context)
        index = int(request.page_token or 0)
        following = index + 1 if index + 1 < len(self.tables.tables) else None
        return ListTablesResponse(
            tables=self.tables.tables[index : index + 1],
            next_page_token=str(following) if following else "",
        )

    async def GetTable(self, request: GetTableRequest, context: Context) -> GetTableResponse:  # noqa: N802 - the contract's name
        """Answer with the table."""
        await self._begin(context)
        return self.table

    async def InvalidateCache(  # noqa: N802 - the contract's name
        self, request: InvalidateCacheRequest, context: Context
    ) -> InvalidateCacheResponse:
        """Record the request."""
        await self._begin(context)
        self.invalidations.append(request)
        return InvalidateCacheResponse()

    async def GetCacheStats(  # noqa: N802 - the contract's name
        self, request: GetCacheStatsRequest, context: Context
    ) -> GetCacheStatsResponse:
        """Answer with the counters."""
        await self._begin(context)
        return self.cache_stats

    def _total(self, request: QueryRequest | StreamQueryRequest) -> query_pb2.Total | None:
        if not request.HasField("total"):
            return None
        count, bound = len(self.items), request.total.up_to
        if 0 < bound < count:
            return query_pb2.Total(value=bound, relation=query_pb2.TOTAL_RELATION_AT_LEAST)
        return query_pb2.Total(value=count, relation=query_pb2.TOTAL_RELATION_EXACT)

    def _end_early(self, request: StreamQueryRequest, message: StreamQueryResponse) -> None:
        if not message.resume_token:
            return
        budget = request.budget
        scanned = message.cumulative.items_scanned
        if budget.HasField("max_scanned_items") and scanned >= budget.max_scanned_items:
            message.end = query_pb2.PAGE_END_SCAN_BUDGET
            message.last = True
        elif message.sequence == self.time_limit:
            message.end = query_pb2.PAGE_END_TIME_BUDGET
            message.last = True

    async def _begin(self, context: Context) -> None:
        self._note(context)
        if self.failures:
            await self.failures.popleft().fail(context)

    def _freshness_token(self) -> str:
        return self.freshness_tokens.popleft() if self.freshness_tokens else ""

    def _note(self, context: Context) -> None:
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.deadlines.append(context.time_remaining())


def numbered(count: int) -> list[Item]:
    """Return `count` items whose `n` counts from 0."""
    return [Item(attributes={"n": AttributeValue(n=str(number))}) for number in range(count)]


def _pages(
    items: Sequence[Item], query: query_pb2.QuerySpec, page_size: int, token: str
) -> Iterator[StreamQueryResponse]:
    start, _, allowed = token.partition(":")
    offset = int(start or 0)
    left = query.max_items if query.HasField("max_items") else len(items)
    left = int(allowed or left)
    while True:
        size = min(page_size or DEFAULT_PAGE_SIZE, left)
        found = items[offset : offset + size]
        offset, left = offset + len(found), left - len(found)
        is_last = offset >= len(items) or not left
        yield _message(found, "" if is_last else f"{offset}:{left}", is_last=is_last)
        if is_last:
            return


def _message(items: Iterable[Item], token: str, *, is_last: bool) -> StreamQueryResponse:
    message = StreamQueryResponse(items=items, resume_token=token, last=is_last)
    message.end = query_pb2.PAGE_END_EXHAUSTED if is_last else query_pb2.PAGE_END_PAGE_FULL
    message.stats.items_returned = message.stats.items_scanned = len(message.items)
    message.stats.read_units = len(message.items) / 2
    message.stats.backend_calls = 1
    message.stats.backend_time.FromMilliseconds(5)
    message.cache.status = query_pb2.CACHE_STATUS_MISS
    message.read_time.FromSeconds(1_700_000_000)
    return message


def _count(total: query_pb2.PageStats, message: StreamQueryResponse) -> None:
    total.items_returned += message.stats.items_returned
    total.items_scanned += message.stats.items_scanned
    total.read_units += message.stats.read_units
    total.backend_calls += message.stats.backend_calls
    total.backend_time.FromMilliseconds(
        total.backend_time.ToMilliseconds() + message.stats.backend_time.ToMilliseconds()
    )


async def _wait_for_ever() -> None:
    await asyncio.Event().wait()
