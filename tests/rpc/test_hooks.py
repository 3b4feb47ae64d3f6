"""Tests of the adapter that runs hooks around calls, with handlers of the tests."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, StreamQueryRequest
from dynamodb_processor_server.errors import PermissionDenied
from dynamodb_processor_server.rpc.interceptors.request_id import RequestIds
from dynamodb_processor_server.rpc.server import QUERY_SERVICE
from tests.rpc.hooked import QUERY, STREAM, Context, Recorder, around, hooked, recorded
from tests.rpc.logged import Logged
from tests.support.lengths import PATIENCE
from tests.support.running import eventually, refusal_of

_SECRET = "password-of-the-database"


async def test_hooks_start_in_order_and_end_in_reverse_around_a_unary_call() -> None:
    """The first hook is the outermost."""
    async with recorded() as server:
        await server.stub.Query(QueryRequest())
        assert server.log == around("OK")


async def test_hooks_surround_all_of_a_stream() -> None:
    """Hooks end after the last message, not after the stream's creation."""
    async with recorded() as server:
        got = [message.sequence async for message in server.stub.StreamQuery(StreamQueryRequest())]
        assert got == [1, 2, 3]
        await eventually(lambda: server.log == around("OK"))


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refusal_ends_only_the_hooks_that_let_the_call_in(streaming: bool) -> None:
    """The refusing hook itself holds nothing, and the handler never runs."""
    async with recorded(PermissionDenied("not today")) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.answers(streaming)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert caught.value.details() == "not today"
        assert server.log == ["outer starts", "inner starts", "outer ends PERMISSION_DENIED"]


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_handlers_failure_ends_every_hook(streaming: bool, logged: Logged) -> None:
    """An unknown error becomes INTERNAL with a fixed text, and is logged completely."""

    async def fail(context: Context) -> None:
        raise ZeroDivisionError(_SECRET)

    log: list[str] = []
    async with hooked(RequestIds(), Recorder("outer", log), log=log) as server:
        server.handlers.act = fail
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.answers(streaming)
    refusal = refusal_of(caught.value)
    request_id = refusal.trailing["x-request-id"]
    assert refusal.code is grpc.StatusCode.INTERNAL
    assert refusal.message == f"internal error; request id {request_id!s}"
    assert _SECRET not in str(caught.value.trailing_metadata())
    assert log[-1] == "outer ends INTERNAL"
    (record,) = logged.of("call_failed")
    assert record["request_id"] == request_id
    assert f"ZeroDivisionError: {_SECRET}" in record["exception"]


async def test_messages_before_a_failure_arrive(logged: Logged) -> None:
    """A stream breaks only after complete messages."""

    async def fail(context: Context) -> None:
        raise PermissionDenied("no more")

    async with recorded() as server:
        server.handlers.act = fail
        call = server.stub.StreamQuery(StreamQueryRequest())
        first: Any = await call.read()
        second: Any = await call.read()
        assert (first.sequence, second.sequence) == (1, 2)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert server.log == around("PERMISSION_DENIED")
        assert not logged.of("call_failed")  # a refusal is no defect


async def test_a_status_that_a_handler_sets_itself_is_kept() -> None:
    """`abort` of gRPC is not changed, and the hooks get its code."""

    async def abort(context: Context) -> None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    async with recorded() as server:
        server.handlers.act = abort
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.Query(QueryRequest())
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.NOT_FOUND,
            "no such thing",
        )
        await server.inside.wait_until_idle()  # `abort` answers the caller before the hooks end
        assert server.log == around("NOT_FOUND")


async def test_cancelling_a_waiting_call_ends_its_hooks() -> None:
    """Cancellation reaches the handler first, then the hooks from inside out."""

    async def wait(context: Context) -> None:
        await asyncio.Event().wait()

    async with recorded() as server:
        server.handlers.act = wait
        call = server.stub.Query(QueryRequest())
        await eventually(lambda: "handler" in server.log)
        call.cancel()
        await eventually(lambda: server.log == around("CANCELLED"))


async def test_cancelling_a_stream_ends_its_hooks() -> None:
    """The handler is closed before the hooks that protect it end."""

    async def wait(context: Context) -> None:
        await asyncio.Event().wait()

    async with recorded() as server:
        server.handlers.act = wait
        call = server.stub.StreamQuery(StreamQueryRequest())
        first: Any = await call.read()
        assert first.sequence == 1
        call.cancel()
        await eventually(lambda: server.log == around("CANCELLED"))


async def test_cancelling_a_write_ends_the_hooks() -> None:
    """A generator that is suspended at a yield is closed as well."""
    async with recorded() as server:
        server.handlers.messages, server.handlers.chunk = 100, 1_000_000
        call = server.stub.StreamQuery(StreamQueryRequest())
        await eventually(lambda: "handler" in server.log)
        # Until flow control has the write stuck, which nothing tells; it lets few of them through.
        await asyncio.sleep(0.05)
        assert "handler ends" not in server.log
        call.cancel()
        await eventually(lambda: server.log == around("CANCELLED"))


async def test_a_deadline_ends_the_call_on_the_server_too() -> None:
    """The server does no more work for a call after its deadline."""

    async def wait(context: Context) -> None:
        await asyncio.Event().wait()

    async with recorded() as server:
        server.handlers.act = wait
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.stub.Query(QueryRequest(), timeout=1.0)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: server.log == around("DEADLINE_EXCEEDED"))


@pytest.mark.parametrize("method", [QUERY, STREAM])
async def test_bytes_that_are_no_message_are_refused(method: str) -> None:
    """Invalid bytes are a violation, found inside the hooks, and no INTERNAL."""
    async with recorded() as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.call(method, b"\xff\xff\xff")
        refusal = refusal_of(caught.value)
        assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
        assert refusal.fields == ["request"]
        assert server.log == around("INVALID_ARGUMENT", handler=False)


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_refused_callers_request_is_not_decoded(streaming: bool) -> None:
    """Work that grows with a request begins after every hook has accepted the call."""
    decoded: list[object] = []
    refusing = Recorder("outer", [], PermissionDenied("not today"))
    async with hooked(refusing, log=refusing.log, decoded=decoded) as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.answers(streaming)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert decoded == []
        refusing.refusal = None
        await server.answers(streaming)
        assert len(decoded) == 1


async def test_a_string_that_is_not_utf_8_is_refused() -> None:
    """A message with an invalid string is refused, too."""
    async with recorded() as server:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await server.call(QUERY, b"\x1a\x02\xc3\x28")
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_unknown_methods_leave_nothing_behind() -> None:
    """They are UNIMPLEMENTED, and invented names are not cached."""
    async with recorded() as server:
        for number in range(50):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await server.call(f"/{QUERY_SERVICE.full_name}/Method{number}", b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await server.stub.Query(QueryRequest())
        assert list(server.inside._wrapped) == [QUERY]


async def test_a_hook_is_not_called_for_other_methods() -> None:
    """`applies_to` decides, once for each method."""
    log: list[str] = []
    async with hooked(
        Recorder("outer", log, methods=[STREAM]), Recorder("inner", log), log=log
    ) as server:
        await server.stub.Query(QueryRequest())
    assert log == ["inner starts", "handler", "handler ends", "inner ends OK"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("trace:4bf92f/01", True),
        ("x" * 128, True),
        ("x" * 129, False),
        ("two words", False),
        ("", False),
    ],
)
async def test_a_valid_request_id_is_adopted(given: str, kept: bool) -> None:
    """Every response has its request's id: the caller's, or a new one for an invalid one."""
    async with hooked(RequestIds(), log=[]) as server:
        call = server.stub.Query(QueryRequest(), metadata=(("x-request-id", given),))
        answer = await call
        assert (answer.next_page_token == given) is kept
        assert answer.next_page_token
        trailing = dict((await call.trailing_metadata()) or ())
        assert trailing == {"x-request-id": answer.next_page_token}


async def test_the_server_is_idle_when_every_hook_has_ended() -> None:
    """A stopping server can wait until all calls have cleaned up."""
    go = asyncio.Event()

    async def wait(context: Context) -> None:
        await go.wait()

    async with recorded() as server:
        server.handlers.act = wait
        call = asyncio.ensure_future(server.stub.Query(QueryRequest()))
        await eventually(lambda: "handler" in server.log)
        waiting = asyncio.ensure_future(server.inside.wait_until_idle())
        await asyncio.sleep(0)
        assert not waiting.done()
        go.set()
        await call
        await asyncio.wait_for(waiting, PATIENCE)
        assert server.log == around("OK")
