"""A server whose handlers and hooks record their events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc

from dynamodb_processor.v1.query_service_pb2 import (
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_server.rpc.call_context import Call, current_call
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook
from dynamodb_processor_server.rpc.interceptors.chain import InterceptedHandlers
from dynamodb_processor_server.rpc.method_handlers import service_handler
from dynamodb_processor_server.rpc.server import QUERY_SERVICE
from tests.support.lengths import PATIENCE

if TYPE_CHECKING:
    from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceAsyncStub

QUERY = f"/{QUERY_SERVICE.full_name}/Query"
STREAM = f"/{QUERY_SERVICE.full_name}/StreamQuery"

Context = grpc.aio.ServicerContext[Any, Any]


async def nothing(context: Context) -> None:
    """Do nothing."""


@dataclass
class Handlers:
    """A service that records its events, and runs a test's action in the middle of a call.

    A stream has `messages` of `chunk` bytes before that, and one after it.
    """

    log: list[str]
    act: Callable[[Context], Awaitable[None]] = nothing
    messages: int = 2
    chunk: int = 0

    async def Query(  # noqa: N802 - the method's name in the contract
        self, request: QueryRequest, context: Context
    ) -> QueryResponse:
        """Answer with the call's request id as the token."""
        self.log.append("handler")
        try:
            await self.act(context)
            return QueryResponse(next_page_token=current_call().request_id)
        finally:
            self.log.append("handler ends")

    async def StreamQuery(  # noqa: N802 - the method's name in the contract
        self, request: StreamQueryRequest, context: Context
    ) -> AsyncIterator[StreamQueryResponse]:
        """Yield some messages, act, and yield a last one."""
        self.log.append("handler")
        try:
            for sequence in range(1, self.messages + 1):
                yield StreamQueryResponse(sequence=sequence, resume_token="x" * self.chunk)
            await self.act(context)
            yield StreamQueryResponse(sequence=self.messages + 1, last=True)
        finally:
            self.log.append("handler ends")

    CountItems = BatchGetItems = ExplainQuery = Query


@dataclass
class Recorder(CallHook):
    """A hook that records its calls and may refuse them."""

    name: str
    log: list[str]
    refusal: Exception | None = None
    methods: Sequence[str] = (QUERY, STREAM)

    def applies_to(self, method: str) -> bool:
        """Return True for the hook's own methods."""
        return method in self.methods

    async def on_start(self, call: Call) -> None:
        """Record the start."""
        self.log.append(f"{self.name} starts")
        if self.refusal is not None:
            raise self.refusal

    def on_end(self, call: Call) -> None:
        """Record the end."""
        self.log.append(f"{self.name} ends {call.code.name}")


@dataclass
class Hooked:
    """A running server with hooks."""

    handlers: Handlers
    inside: InterceptedHandlers
    channel: grpc.aio.Channel
    log: list[str]
    stub: QueryServiceAsyncStub = field(init=False)

    def __post_init__(self) -> None:
        self.stub = QueryServiceStub(self.channel)

    async def call(self, method: str, payload: bytes) -> Any:
        """Call a method with bytes."""
        make: Any = self.channel.unary_unary(method)
        return await make(payload)

    async def answers(self, streaming: bool) -> list[Any]:
        """Return the answers of one call of either kind."""
        if not streaming:
            return [await self.stub.Query(QueryRequest())]
        return [message async for message in self.stub.StreamQuery(StreamQueryRequest())]


@asynccontextmanager
async def hooked(
    *hooks: CallHook,
    log: list[str],
    decoded: list[object] | None = None,
    options: Sequence[tuple[str, int]] = (),
) -> AsyncIterator[Hooked]:
    """Run the handlers inside hooks during the `async with`.

    Every request that is decoded is appended to `decoded`.
    """
    handlers = Handlers(log)
    into = [] if decoded is None else decoded

    def note(message: object, data: bytes) -> object:
        into.append(message)
        return message

    readers = {"Query": note, "StreamQuery": note}
    inside = InterceptedHandlers((service_handler(QUERY_SERVICE, handlers, readers),), hooks)
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0), *options))
    server.add_generic_rpc_handlers((inside,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Hooked(handlers, inside, channel, log)
    finally:
        await server.stop(5)
        await asyncio.wait_for(inside.wait_until_idle(), PATIENCE)


@asynccontextmanager
async def recorded(refusal: Exception | None = None) -> AsyncIterator[Hooked]:
    """Run the handlers inside two recorders, the inner of which may refuse."""
    log: list[str] = []
    async with hooked(Recorder("outer", log), Recorder("inner", log, refusal), log=log) as server:
        yield server


def around(code: str, *, handler: bool = True) -> list[str]:
    """Return the record of a call that ends with a status."""
    inside = ["handler", "handler ends"] if handler else []
    return ["outer starts", "inner starts", *inside, f"inner ends {code}", f"outer ends {code}"]
