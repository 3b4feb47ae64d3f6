"""The one adapter between gRPC's interceptors and hooks that know nothing of streaming.

A hook is told when a call starts and when it ends. The adapter wraps each method once, at its first
call: starting the hooks in order, running the handler, turning whatever was raised into a status,
and ending the started hooks in reverse.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Final, Protocol

import grpc
import structlog

from dynamodb_processor_server.errors import InvalidRequest, ProcessorError
from dynamodb_processor_server.rpc.call import Call, as_metadata, enter_call
from dynamodb_processor_server.rpc.statuses import failure_of, grpc_status
from dynamodb_processor_server.rpc.wire import UNREADABLE

_log = structlog.get_logger(__name__)
_Context = grpc.aio.ServicerContext[Any, Any]


class CallHook(Protocol):
    """Something that happens around calls."""

    def applies_to(self, method: str) -> bool:
        """Return whether calls of a method, by full name with slashes, concern this hook."""
        ...

    def started(self, call: Call) -> Awaitable[None] | None:
        """Note the start of a call, or raise a domain error to refuse it.

        Returns what the call has to wait for, if anything: few hooks wait, and a coroutine for each
        of the others would cost more than what they do.
        """
        ...

    def ended(self, call: Call) -> None:
        """Note the end of a call that this hook let start; `call.code` says how it ended."""
        ...


class HookInterceptor(grpc.aio.ServerInterceptor):
    """Runs hooks around every method, the first one outermost."""

    def __init__(self, hooks: Sequence[CallHook]) -> None:
        self._hooks = hooks
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._active = _ActiveCalls()

    async def idle(self) -> None:
        """Wait until no call is inside its hooks."""
        await self._active.none()

    async def intercept_service(
        self,
        continuation: Callable[
            [grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]
        ],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """Return the wrapped handler of a method, None where there is no such method."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None  # UNIMPLEMENTED; not kept, the name is the caller's invention
            hooks = [hook for hook in self._hooks if hook.applies_to(method)]
            wrapped = self._wrapped[method] = _wrap(handler, method, hooks, self._active)
        return wrapped


class _ActiveCalls:
    """Counts the calls inside their hooks."""

    def __init__(self) -> None:
        self.count = 0
        self._idle: asyncio.Event | None = None

    def leave(self) -> None:
        self.count -= 1
        if self._idle is not None and not self.count:
            self._idle.set()

    async def none(self) -> None:
        self._idle = asyncio.Event()
        if self.count:
            await self._idle.wait()


def _wrap(
    handler: grpc.RpcMethodHandler[Any, Any],
    method: str,
    hooks: Sequence[CallHook],
    active: _ActiveCalls,
) -> grpc.RpcMethodHandler[Any, Any]:
    behavior: Any
    make: Any
    if handler.response_streaming:
        if handler.request_streaming:
            behavior, make = handler.stream_stream, grpc.stream_stream_rpc_method_handler
        else:
            behavior, make = handler.unary_stream, grpc.unary_stream_rpc_method_handler
    elif handler.request_streaming:
        behavior, make = handler.stream_unary, grpc.stream_unary_rpc_method_handler
    else:
        behavior, make = handler.unary_unary, grpc.unary_unary_rpc_method_handler
    # A streaming handler may also be a coroutine that writes its responses, as health's Watch is.
    wrapper = _yielding if inspect.isasyncgenfunction(behavior) else _awaited
    return make(  # type: ignore[no-any-return]
        wrapper(behavior, method, hooks, active),
        handler.request_deserializer,
        handler.response_serializer,
    )


def _awaited(behavior: Any, method: str, hooks: Sequence[CallHook], active: _ActiveCalls) -> Any:
    async def serve(request: Any, context: _Context) -> Any:
        async with _Guard(method, context, hooks, active):
            _check_readable(request)
            return await behavior(request, context)

    return serve


def _yielding(behavior: Any, method: str, hooks: Sequence[CallHook], active: _ActiveCalls) -> Any:
    async def serve(request: Any, context: _Context) -> AsyncIterator[Any]:
        async with _Guard(method, context, hooks, active):
            _check_readable(request)
            # Closed here and now when the caller leaves, not whenever the collector comes by.
            async with aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    yield response

    return serve


def _check_readable(request: object) -> None:
    if request is UNREADABLE:
        raise InvalidRequest.of("request", "is not a message of this method's type")


_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def _status_code(code: object) -> grpc.StatusCode:
    """Return the status of a context, which holds a number whatever its stubs say."""
    if isinstance(code, int):
        return _STATUS_CODES[code]
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


class _Guard:
    """One call inside its hooks; what is raised inside leaves as a status."""

    def __init__(
        self,
        method: str,
        context: _Context,
        hooks: Sequence[CallHook],
        active: _ActiveCalls,
    ) -> None:
        metadata = as_metadata(context.invocation_metadata())
        self._call = Call(method, context, time.monotonic(), metadata)
        self._hooks = hooks
        self._active = active
        self._begun = 0

    async def __aenter__(self) -> None:
        self._active.count += 1
        enter_call(self._call)
        try:
            for hook in self._hooks:
                waiting = hook.started(self._call)
                if waiting is not None:
                    await waiting
                self._begun += 1
        except BaseException as error:
            await self._end(error)
            raise

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        await self._end(error)

    async def _end(self, error: BaseException | None) -> None:
        call = self._call
        if error is None:
            call.context.set_trailing_metadata(tuple(call.trailing))
            self._end_hooks()
        elif isinstance(error, asyncio.CancelledError | GeneratorExit):
            call.code = grpc.StatusCode.CANCELLED
            self._end_hooks()
        elif isinstance(error, grpc.aio.AbortError):
            call.code = _status_code(call.context.code())
            self._end_hooks()
        else:
            await self._fail(error)

    async def _fail(self, error: BaseException) -> None:
        call = self._call
        failure = failure_of(error, call.request_id)
        call.code, call.reason = failure.code, failure.reason
        if not isinstance(error, ProcessorError):
            _log.error("call_failed", method=call.method, exc_info=error)
        self._end_hooks()
        await call.context.abort_with_status(grpc_status(failure, call.trailing))

    def _end_hooks(self) -> None:
        for hook in reversed(self._hooks[: self._begun]):
            hook.ended(self._call)
        self._active.leave()
