"""`QueryService`: turn the message into a walk, take its steps, answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import grpc

from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    CountItemsResponse,
    ExplainQueryRequest,
    ExplainQueryResponse,
)
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatch as FoundItems
from dynamodb_processor_server.dynamodb.bounded_batches import BoundedBatches
from dynamodb_processor_server.errors import (
    Draining,
    IndexGone,
    ItemTooLarge,
    RequestInvalid,
    TableNotFound,
)
from dynamodb_processor_server.limits.call_rate import Limiter
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.pager.counting_pager import CountingPager
from dynamodb_processor_server.pager.pager import CallOptions, Pager, PageResult
from dynamodb_processor_server.reader import NO_PAGE_LIMIT, PageReader
from dynamodb_processor_server.rpc.call_context import Call, current_call
from dynamodb_processor_server.rpc.decode.page_request import PageRequest, RawQuerySpec
from dynamodb_processor_server.rpc.decode.query import (
    check_budget,
    check_cache,
    parse_bound,
    parse_budget,
    parse_cache,
)
from dynamodb_processor_server.rpc.decode.violations import Violations
from dynamodb_processor_server.rpc.encode.explanation import explain
from dynamodb_processor_server.rpc.encode.pages import (
    count_response,
    query_response,
    stream_response,
)
from dynamodb_processor_server.rpc.page_cursors import PageTokens, ResumePoint, ResumePointCache
from dynamodb_processor_server.rpc.prepared_queries import QueryPreparer
from dynamodb_processor_server.rpc.services.batch_get import (
    ParsedBatch,
    batch_response,
    check_batch,
    parse_batch,
)
from dynamodb_processor_server.rpc.table_access import TableAccess

_T = TypeVar("_T")

_MAX_ERROR_TOKEN: Final = 2_000  # characters: all trailers of a call have about 8 KB
_REMAINING: Final = "x-read-units-remaining"
# What DynamoDB says when a table or index is no longer what the catalog knows of it.
_OUTDATED: Final = (IndexGone, RequestInvalid, TableNotFound)


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds: for calls at most, and between a stream's messages."""

    unary: float = 30.0
    stream: float = 3600.0
    stream_interval: float = 2.0


class QueryServicer:
    """Serves pages. `draining` is set when streams are to end because the server is going."""

    def __init__(
        self,
        preparation: QueryPreparer,
        openings: ResumePointCache,
        tokens: PageTokens,
        reader: PageReader,
        items: BoundedBatches,
        calls: Limiter,
        read_units: ReadUnitLimits,
        deadlines: Deadlines,
        max_page_bytes: int,
        draining: asyncio.Event,
    ) -> None:
        self._preparation = preparation
        self._openings = openings
        self._tokens = tokens
        self._reader = reader
        self._items = items
        self._calls = calls
        self._read_units = read_units
        self._max_page_bytes = max_page_bytes
        self._deadlines = deadlines
        self._draining = draining

    async def Query(  # noqa: N802 - the method's name in the contract
        self, request: PageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> bytes:
        """Return one page."""
        call = current_call()

        async def read() -> tuple[ResumePoint, PageResult]:
            opening, walk = await self._open_pager(request, call, self._deadlines.unary)
            try:
                return opening, await walk.next_page()
            except ItemTooLarge as error:
                raise self._with_token(error, opening, walk, call) from None

        opening, step = await self._planned_anew(call, read)
        self._record_usage(call, step)
        self._add_remaining_trailer(call)
        return query_response(step, opening.prepared.plan, self._token(opening, call, step))

    async def StreamQuery(  # noqa: N802 - the method's name in the contract
        self, request: PageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """Yield every page."""
        call = current_call()
        times = self._deadlines.stream, self._deadlines.stream_interval

        async def begin() -> tuple[ResumePoint, Pager, AsyncGenerator[PageResult], PageResult]:
            opening, walk = await self._open_pager(request, call, *times)
            steps = walk.pages()
            return opening, walk, steps, await self._step(anext(steps), opening, walk, call)

        opening, walk, steps, step = await self._planned_anew(call, begin)
        sequence = 1
        async with aclosing(steps):
            while True:
                self._record_usage(call, step)
                token = self._token(opening, call, step)
                yield stream_response(step, opening.prepared.plan, token, sequence)
                if step.last:
                    break
                if self._draining.is_set():
                    raise Draining("the server is shutting down; resume on another")
                self._read_units.check(call.caller, call.table)  # resumed from the token just sent
                step = await self._step(anext(steps), opening, walk, call)
                sequence += 1
        self._add_remaining_trailer(call)

    async def CountItems(  # noqa: N802 - the method's name in the contract
        self, request: CountItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> CountItemsResponse:
        """Count what a query matches."""
        call = current_call()
        call.table = request.query.table

        async def read() -> tuple[ResumePoint, int, PageResult]:
            opening, walk, bound = await self._counting_walk(request, call)
            return opening, bound, await walk.next_page()

        opening, bound, step = await self._planned_anew(call, read)
        self._record_usage(call, step)
        self._add_remaining_trailer(call)
        call.items = 0  # none is returned
        token = self._token(opening, call, step)
        return count_response(step, bound, opening.prepared.plan, token)

    async def BatchGetItems(  # noqa: N802 - the method's name in the contract
        self, request: BatchGetItemsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> BatchGetItemsResponse:
        """Get items by their keys."""
        call = current_call()
        call.table = request.table
        echoed = sum(key.ByteSize() for key in request.keys)

        async def read() -> tuple[ParsedBatch, FoundItems]:
            batch, terms = await self._batch(request, call)
            return batch, await self._items.get_items(batch.lookup, terms.read_options(), echoed)

        batch, found = await self._planned_anew(call, read)
        response = batch_response(request, batch, found, self._max_page_bytes - echoed)
        call.usage, call.messages, call.items = found.usage, 1, response.stats.items_returned
        self._add_remaining_trailer(call)
        return response

    async def ExplainQuery(  # noqa: N802 - the method's name in the contract
        self, request: ExplainQueryRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> ExplainQueryResponse:
        """Tell how a query would be read."""
        call = current_call()
        call.table = request.query.table
        prepared = await self._preparation.prepare(RawQuerySpec.of(request.query), call.caller, ())
        call.access = prepared.access
        if (waiting := self._calls.charge(call.caller, call.table)) is not None:
            await waiting
        return explain(prepared.query, prepared.plan)

    async def _open_pager(
        self, request: PageRequest, call: Call, limit: float, interval: float | None = None
    ) -> tuple[ResumePoint, Pager]:
        """Return where the call begins, and the walk that it takes from there."""
        call.table = request.spec.table
        opening = self._openings.known(request, call.caller)
        if opening is None:
            opening = await self._openings.open(request, call.caller)
        if (waiting := self._begin(call, opening.prepared.access)) is not None:
            await waiting
        plan, max_items = opening.prepared.plan, opening.prepared.query.max_items
        sizes = plan.table.config.page_size
        terms = CallOptions(
            page_size=min(request.page_size or sizes.default, sizes.maximum),
            seconds=_seconds(call, limit),
            budget=request.budget,
            cache=request.cache,
            interval=interval,
        )
        at, returned = opening.at, opening.returned
        if request.total is None:
            return opening, Pager(self._reader, plan, terms, at, returned, max_items)
        counting = await self._preparation.counting(opening.prepared, call.caller)
        return opening, CountingPager(
            self._reader, plan, terms, at, returned, max_items, counting, request.total
        )

    async def _counting_walk(
        self, request: CountItemsRequest, call: Call
    ) -> tuple[ResumePoint, Pager, int]:
        """Return where a count begins, its walk, and its bound, which is 0 for none."""
        violations = Violations()
        budget, cache = parse_budget(request, violations), parse_cache(request, violations)
        bound = parse_bound(request, violations)
        if request.query.HasField("max_items"):
            violations.add("query.max_items", "makes no difference to a count")
        prepared = await self._preparation.prepare(
            RawQuerySpec.of(request.query), call.caller, violations.found, counts=True
        )
        check_budget(budget, prepared.plan)
        check_cache(cache, prepared.plan)
        if (waiting := self._begin(call, prepared.access)) is not None:
            await waiting
        opening = self._tokens.open(request.page_token, "page_token", prepared, call.caller)
        plan, counted = opening.prepared.plan, opening.returned
        terms = CallOptions(
            page_size=bound - counted if bound else NO_PAGE_LIMIT,
            seconds=_seconds(call, self._deadlines.unary),
            budget=budget,
            cache=cache,
        )
        return opening, Pager(self._reader, plan, terms, opening.at, counted, None), bound

    async def _batch(
        self, request: BatchGetItemsRequest, call: Call
    ) -> tuple[ParsedBatch, CallOptions]:
        """Return what a request for items by key looks up, and within which limits."""
        violations = Violations()
        budget = parse_budget(request, violations)
        check_batch(request, violations)
        access = await self._preparation.table(request.table, call.caller, violations)
        batch = self._preparation.work.run(
            call.caller,
            lambda: parse_batch(request, access.table, access.rule, violations),
        )
        if (waiting := self._begin(call, access)) is not None:
            await waiting
        return batch, CallOptions(1, _seconds(call, self._deadlines.unary), budget)

    def _begin(self, call: Call, access: TableAccess) -> Awaitable[None] | None:
        """Let a call read under an access; return what it has to wait for.

        A read is refused to who has none left, else counted; one that is planned anew was counted.
        """
        is_new, call.access = call.access is None, access
        if not is_new:
            return None
        self._read_units.check(call.caller, call.table)
        return self._calls.charge(call.caller, call.table)

    async def _planned_anew(self, call: Call, read: Callable[[], Awaitable[_T]]) -> _T:
        """Return what `read` plans and reads; once more where DynamoDB contradicts the catalog."""
        try:
            return await read()
        except _OUTDATED:
            if call.access is None or not await self._preparation.is_outdated(call.access):
                raise
        return await read()

    async def _step(
        self, reading: Awaitable[PageResult], opening: ResumePoint, walk: Pager, call: Call
    ) -> PageResult:
        """Return what a walk reads; an ItemTooLarge gets the token that goes on behind its item."""
        try:
            return await reading
        except ItemTooLarge as error:
            raise self._with_token(error, opening, walk, call) from None

    def _with_token(
        self, error: ItemTooLarge, opening: ResumePoint, walk: Pager, call: Call
    ) -> ItemTooLarge:
        """Return the error with the token that goes on behind its item, if an error has room."""
        token = self._tokens.seal(opening, call.caller, error.behind, walk.returned)
        return error.with_token(token if len(token) <= _MAX_ERROR_TOKEN else "")

    def _record_usage(self, call: Call, step: PageResult) -> None:
        """Leave what the access log and the metrics say."""
        call.items = step.items
        call.usage = step.usage
        call.messages += 1
        call.cache = step.page.status

    def _add_remaining_trailer(self, call: Call) -> None:
        """Leave in the trailers what is left of the caller's read units, where that is limited."""
        left = self._read_units.remaining(call.caller, call.table)
        if left is not None:
            call.trailing.append((_REMAINING, str(left)))

    def _token(self, opening: ResumePoint, call: Call, step: PageResult) -> str:
        return self._tokens.seal(opening, call.caller, step.page.content.next, step.returned)


def _seconds(call: Call, limit: float) -> float:
    """Return the time left for a call, `limit` at most, whatever deadline its caller sets."""
    left = cast("float | None", call.context.time_remaining())
    return limit if left is None else min(left, limit)
