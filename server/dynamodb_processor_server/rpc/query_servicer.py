"""`QueryService`: turn the message into a walk, take its steps, answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

import grpc

from dynamodb_processor_server.errors import Draining
from dynamodb_processor_server.reading.port import Reader
from dynamodb_processor_server.reading.traversal import Step, Terms, Traversal
from dynamodb_processor_server.rpc.call import Call, current_call
from dynamodb_processor_server.rpc.preparation import Preparation, PreparedQuery, Tokens
from dynamodb_processor_server.rpc.received import PageRequest
from dynamodb_processor_server.rpc.responses import query_response, stream_response


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds: for calls whose callers set no deadline, and between a stream's messages."""

    unary: float = 30.0
    stream: float = 3600.0
    stream_interval: float = 2.0


class QueryServicer:
    """Serves pages. `draining` is set when streams are to end because the server is going."""

    def __init__(
        self,
        preparation: Preparation,
        tokens: Tokens,
        reader: Reader,
        deadlines: Deadlines,
        draining: asyncio.Event,
    ) -> None:
        self._preparation = preparation
        self._tokens = tokens
        self._reader = reader
        self._deadlines = deadlines
        self._draining = draining

    async def Query(  # noqa: N802 - the method's name in the contract
        self, request: PageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> bytes:
        """Return one page."""
        call = current_call()
        prepared, walk = await self._walk(request, call, self._deadlines.unary)
        step = await walk.next_page()
        _note(call, step)
        return query_response(step, prepared.plan, self._token(prepared, call, step))

    async def StreamQuery(  # noqa: N802 - the method's name in the contract
        self, request: PageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[bytes]:
        """Yield every page."""
        call = current_call()
        prepared, walk = await self._walk(
            request, call, self._deadlines.stream, self._deadlines.stream_interval
        )
        sequence = 0
        async with aclosing(walk.pages()) as steps:
            async for step in steps:
                sequence += 1
                _note(call, step)
                token = self._token(prepared, call, step)
                yield stream_response(step, prepared.plan, token, sequence)
                if self._draining.is_set() and not step.last:
                    raise Draining("the server is shutting down; resume on another")

    async def _walk(
        self, request: PageRequest, call: Call, limit: float, interval: float | None = None
    ) -> tuple[PreparedQuery, Traversal]:
        """Return the query on the index its token is pinned to, and the walk the call takes."""
        call.table = request.spec.table
        caller = call.caller
        prepared = await self._preparation.prepare(request.spec, caller, request.mistakes)
        prepared, at, returned = self._tokens.open(
            request.token, request.token_field, prepared, caller
        )
        left = cast("float | None", call.context.time_remaining())  # None: no deadline
        sizes = prepared.plan.table.declaration.page_size
        terms = Terms(
            page_size=min(request.page_size or sizes.default, sizes.maximum),
            seconds=limit if left is None else left,
            budget=request.budget,
            cache=request.cache,
            interval=interval,
        )
        max_items = prepared.query.max_items
        return prepared, Traversal(self._reader, prepared.plan, terms, at, returned, max_items)

    def _token(self, prepared: PreparedQuery, call: Call, step: Step) -> str:
        return self._tokens.seal(prepared, call.caller, step.page.content.next, step.returned)


def _note(call: Call, step: Step) -> None:
    """Leave what the access log and the metrics say."""
    call.items = step.items
    call.usage = step.usage
    call.messages += 1
    call.cache = step.page.status.value
