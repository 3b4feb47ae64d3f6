"""`QueryService`: turns a request into a pager, and its pages into responses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

import grpc

from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    CountItemsResponse,
    ExplainQueryRequest,
    ExplainQueryResponse,
)
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatches
from dynamodb_processor_server.errors import (
    Draining,
    IndexGone,
    ItemTooLarge,
    ProcessorError,
    RateLimited,
    RequestInvalid,
    TableNotFound,
)
from dynamodb_processor_server.pager.counting_pager import CountingPager
from dynamodb_processor_server.pager.pager import (
    CallOptions,
    Pager,
    PageResult,
)
from dynamodb_processor_server.reader import (
    NO_PAGE_LIMIT,
    Page,
    PageLookup,
    PageReader,
)
from dynamodb_processor_server.rpc.call_context import Call, current_call
from dynamodb_processor_server.rpc.call_limits import CallBounds, CallLimits, caller_within
from dynamodb_processor_server.rpc.decode.count_request import read_count
from dynamodb_processor_server.rpc.decode.page_request import PageRequest, RawQuerySpec
from dynamodb_processor_server.rpc.decode.query import check_budget, check_cache
from dynamodb_processor_server.rpc.encode.explanation import explain
from dynamodb_processor_server.rpc.encode.pages import (
    ResponseHeads,
    count_response,
    query_response,
    stream_response,
)
from dynamodb_processor_server.rpc.freshness_bounds import bounded_policy
from dynamodb_processor_server.rpc.page_cursors import FreshnessTokens, ResumePointCache
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.rpc.resume_point import ResumePoint
from dynamodb_processor_server.rpc.services.batch_gets import BatchGets
from dynamodb_processor_server.rpc.services.cached_gets import CachedGets

_R = TypeVar("_R")
_T = TypeVar("_T")

# DynamoDB's errors when a table or index has changed since the catalog described it.
_OUTDATED: Final = (IndexGone, RequestInvalid, TableNotFound)


@dataclass(frozen=True, slots=True)
class Readers:
    """The readers of pages, of cached pages, of batches of items, and of cached batches."""

    pages: PageReader
    cached_pages: PageLookup
    batches: BoundedBatches
    cached_gets: CachedGets


class QueryServicer:
    """Serves pages. `draining` is set when the server shuts down, so that streams end."""

    def __init__(
        self,
        preparer: QueryPreparer,
        resume_points: ResumePointCache,
        freshness: FreshnessTokens,
        readers: Readers,
        limits: CallLimits,
        bounds: CallBounds,
        draining: asyncio.Event,
    ) -> None:
        self._preparer = preparer
        self._resume_points = resume_points
        self._tokens = resume_points.tokens
        self._freshness = freshness
        self._heads = ResponseHeads(resume_points.tokens, freshness)
        self._pages = readers.pages
        self._cached_pages = readers.cached_pages
        self._gets = BatchGets(
            preparer, readers.batches, readers.cached_gets, freshness, limits, bounds
        )
        self._limits = limits
        self._bounds = bounds
        self._draining = draining

    async def Query(  # noqa: N802 - the method's name in the contract
        self, request: PageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> bytes:
        """Return one page."""
        call = current_call()
        call.table = request.table
        known = self._resume_points.known(request, call.caller)
        # A pager would return the same page, but half of a hit's time in the servicer went into
        # the objects and coroutines of reads: deadlines, options, the pager itself.
        if known is not None and known.page_key is not None:
            if (waiting := self._limits.begin(call, known.access)) is not None:
                await waiting
            policy = request.cache
            if request.freshness is not None:
                policy = bounded_policy(call, self._freshness, request, known)
            page = self._cached_pages.cached_page(known.page_key, policy)
            if page is not None:
                return self._response(call, known, page, known.returned + page.content.count)
        start, result = await self._planned_anew(self._read_one, request, call)
        call.usage = result.usage
        return self._response(call, start, result.page, result.returned, result)

    async def StreamQuery(  # noqa: N802 - the method's name in the contract
        self, request: PageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """Yield every page."""
        call = current_call()
        start, pager, pages, result = await self._planned_anew(self._begin_stream, request, call)
        sequence = 1
        async with aclosing(pages):
            while True:
                self._record_usage(call, result)
                token = self._heads.token(start, call.caller, result)
                freshness = self._heads.freshness(start, result, call.bound, sequence)
                yield stream_response(result, start.disclosure, token, sequence, freshness)
                if result.last:
                    break
                result = await self._page(anext(pages), start, pager, call)
                sequence += 1
        self._limits.add_remaining_trailer(call)

    async def CountItems(  # noqa: N802 - the method's name in the contract
        self, request: CountItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> CountItemsResponse:
        """Count the items that a query matches."""
        call = current_call()
        call.table = request.query.table
        start, bound, result = await self._planned_anew(self._count, request, call)
        self._record_usage(call, result)
        self._limits.add_remaining_trailer(call)
        call.items = 0  # none is returned
        token = self._heads.token(start, call.caller, result)
        freshness = self._heads.freshness(start, result, call.bound)
        return count_response(result, bound, start.disclosure, token, freshness)

    async def BatchGetItems(  # noqa: N802 - the method's name in the contract
        self, request: BatchGetItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> BatchGetItemsResponse | bytes:
        """Get items by their keys."""
        call = current_call()
        call.table = request.table
        cached = await self._gets.cached.answer(request, call, self._limits)
        if cached is not None:
            return cached
        return await self._planned_anew(self._gets.read, request, call)

    async def ExplainQuery(  # noqa: N802 - the method's name in the contract
        self, request: ExplainQueryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ExplainQueryResponse:
        """Explain how a query would be read."""
        call = current_call()
        call.table = request.query.table
        prepared = await self._preparer.prepare(RawQuerySpec.of(request.query), call.caller, ())
        call.access = prepared.access
        if (waiting := self._limits.count(call)) is not None:
            await waiting
        return await self._preparer.work.run_sized(
            call.caller,
            prepared.size,
            partial(explain, prepared.query, prepared.plan),
            begun=True,
        )

    def _response(
        self,
        call: Call,
        start: ResumePoint,
        page: Page,
        returned: int,
        result: PageResult | None = None,
    ) -> bytes:
        """Return the response of a call that reads one page, `result` if a pager has read it."""
        call.items, call.messages, call.cache = page.content.count, 1, page.status
        self._limits.add_remaining_trailer(call)
        head = self._heads.head(start, call.caller, page, returned, call.bound, result)
        total = None if result is None else result.total
        return query_response(page, start.disclosure, head, total)

    async def _read_one(self, request: PageRequest, call: Call) -> tuple[ResumePoint, PageResult]:
        """Return where a call begins, and its one page."""
        start, pager = await self._open_pager(request, call, self._bounds.unary_deadline)
        try:
            return start, await pager.next_page()
        except ItemTooLarge as error:
            raise self._heads.with_token(error, start, call.caller, pager.returned) from None

    async def _begin_stream(
        self, request: PageRequest, call: Call
    ) -> tuple[ResumePoint, Pager, AsyncGenerator[PageResult], PageResult]:
        """Return where a stream begins, its pager, its pages, and the first of them."""
        times = self._bounds.stream_deadline, self._bounds.stream_interval
        start, pager = await self._open_pager(request, call, *times)
        pages = pager.pages(partial(self._stream_refusal, call))
        return start, pager, pages, await self._page(anext(pages), start, pager, call)

    def _stream_refusal(self, call: Call) -> ProcessorError | None:
        """Return the reason why a stream may read no further page, None if it may.

        The caller resumes from the token of the last message.
        """
        if self._draining.is_set():
            return Draining("the server is shutting down; resume on another")
        try:
            self._limits.check_read_units(call)
        except RateLimited as refused:
            return refused
        return None

    async def _open_pager(
        self, request: PageRequest, call: Call, limit: float, interval: float | None = None
    ) -> tuple[ResumePoint, Pager]:
        """Return where the call begins, and its pager, with `limit` seconds for the call."""
        call.table = request.table
        opened = await self._resume_points.open(request, call.caller)
        start, prepared = opened
        call.prepared = prepared
        if (waiting := self._limits.begin(call, prepared.access)) is not None:
            await waiting
        policy = request.cache
        if request.freshness is not None:
            policy = bounded_policy(call, self._freshness, request, start)
        size, caller = opened.page_size(request.page_size), caller_within(call, limit)
        options = CallOptions(size, caller, request.budget, policy, interval)
        if request.total is None:
            return start, Pager(self._pages, opened.paging, options)
        counting = await self._preparer.counting(prepared, call.caller)
        return start, CountingPager(self._pages, opened.paging, options, counting, request.total)

    async def _count(
        self, request: CountItemsRequest, call: Call
    ) -> tuple[ResumePoint, int, PageResult]:
        """Return where a count begins, its bound, which is 0 for none, and the count."""
        count = read_count(request)
        prepared = await self._preparer.prepare(
            RawQuerySpec.of(request.query), call.caller, count.violations, counts=True
        )
        check_budget(count.budget, prepared.plan)
        check_cache(count.cache, prepared.plan)
        if (waiting := self._limits.begin(call, prepared.access)) is not None:
            await waiting
        opened = self._tokens.open(request.page_token, "page_token", prepared, call.caller)
        call.prepared = opened.prepared
        start, bound, cache = opened.start, count.bound, count.cache
        if count.freshness is not None:
            cache = bounded_policy(call, self._freshness, count, start)
        caller = caller_within(call, self._bounds.unary_deadline)
        size = bound - start.returned if bound else NO_PAGE_LIMIT
        options = CallOptions(size, caller, count.budget, cache)
        return start, bound, await Pager(self._pages, opened.paging, options).next_page()

    async def _planned_anew(
        self, read: Callable[[_R, Call], Awaitable[_T]], request: _R, call: Call
    ) -> _T:
        """Return the result of `read`; of a second one where DynamoDB contradicts the catalog."""
        try:
            return await read(request, call)
        except _OUTDATED:
            if call.access is None or not await self._preparer.is_outdated(call.access):
                raise
        return await read(request, call)

    async def _page(
        self, reading: Awaitable[PageResult], start: ResumePoint, pager: Pager, call: Call
    ) -> PageResult:
        """Return a page; an ItemTooLarge gets the token that goes on behind its item."""
        try:
            return await reading
        except ItemTooLarge as error:
            raise self._heads.with_token(error, start, call.caller, pager.returned) from None

    def _record_usage(self, call: Call, result: PageResult) -> None:
        """Set the fields of the call that the access log and the metrics show."""
        call.items = result.items
        call.usage = result.usage
        call.messages += 1
        call.cache = result.page.status
