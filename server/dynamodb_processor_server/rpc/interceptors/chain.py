"""Runs hooks around gRPC's handlers, so that hooks do not depend on streaming.

Each method is wrapped once, at its first call. The wrapper starts the hooks in order, receives and
decodes the request, runs the handler, turns any exception into a status, and ends the started hooks
in reverse order. The request is received and decoded after every hook has started, so a refused
caller costs no memory or work that grows with its request.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import grpc
import structlog

from dynamodb_processor_server.errors import ProcessorError
from dynamodb_processor_server.rpc.call_context import Call, Metadata, as_metadata, enter_call
from dynamodb_processor_server.rpc.encode.status import grpc_status, rpc_error_of
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook, Chain
from dynamodb_processor_server.rpc.method_handlers import behavior_of, method_handler, serialize
from dynamodb_processor_server.rpc.request_receiver import RequestReceiver

_log = structlog.get_logger(__name__)
_Context = grpc.aio.ServicerContext[Any, Any]
_Receive = Callable[[Call], Awaitable[Any]]

# The metadata of a call, from the look-up of its handler to its handler: both run in its task.
_metadata: ContextVar[Metadata] = ContextVar("metadata")


class InterceptedHandlers(grpc.GenericRpcHandler):
    """All methods of a server inside their hooks, the first hook outermost.

    It is registered as the server's only handler. A `grpc.aio` interceptor could do the same, but
    gRPC calls interceptors anew at each call, through a chain of coroutines.
    """

    def __init__(
        self,
        handlers: Sequence[grpc.GenericRpcHandler],
        hooks: Sequence[CallHook],
        receiver: RequestReceiver | None = None,
        note_unknown: Callable[[_Context], object] = lambda _: None,
    ) -> None:
        """Wrap handlers.

        Args:
            handlers: The handlers of all services.
            hooks: The hooks of every call, the outermost first.
            receiver: Receives requests; a new one if absent.
            note_unknown: Called with the context of each call of a method that does not exist.
        """
        self._handlers = handlers
        self._hooks = hooks
        self._receiver = receiver or RequestReceiver()
        self._unknown = _unknown(note_unknown)
        self._wrapped: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._active = _ActiveCalls()

    @property
    def active(self) -> int:
        """The number of calls inside their hooks."""
        return self._active.count

    async def wait_until_idle(self) -> None:
        """Wait until no call is inside its hooks."""
        await self._active.wait_until_idle()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the wrapped handler of a method, or one that refuses where there is none."""
        # gRPC has converted the metadata for this look-up, and would convert it anew for its
        # context: 10 us of a call's 250.
        _metadata.set(handler_call_details.invocation_metadata)
        method = handler_call_details.method
        return self._wrapped.get(method) or self._wrap(method, handler_call_details)

    def handler(self, method: str) -> grpc.RpcMethodHandler[Any, Any]:
        """Return the wrapped handler of a method that is registered with gRPC under its name."""
        details: Any = SimpleNamespace(method=method, invocation_metadata=())
        return self._wrapped.get(method) or self._wrap(method, details)

    def _wrap(
        self, method: str, details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        found = (handler.service(details) for handler in self._handlers)
        handler = next((one for one in found if one is not None), None)
        if handler is None:
            return self._unknown  # not cached by its name, which the caller has invented
        chain = Chain([hook for hook in self._hooks if hook.applies_to(method)])
        wrapped = self._wrapped[method] = _wrap(
            handler, method, chain, self._active, self._receiver
        )
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

    async def wait_until_idle(self) -> None:
        self._idle = asyncio.Event()
        if self.count:
            await self._idle.wait()


def _unknown(note: Callable[[_Context], object]) -> grpc.RpcMethodHandler[Any, Any]:
    """Return the handler of calls whose method does not exist."""

    async def refuse(requests: Any, context: _Context) -> None:
        note(context)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    return method_handler(refuse, streams_requests=True, streams_responses=False)


def _wrap(
    handler: grpc.RpcMethodHandler[Any, Any],
    method: str,
    chain: Chain,
    active: _ActiveCalls,
    receiver: RequestReceiver,
) -> grpc.RpcMethodHandler[Any, Any]:
    # Every method is registered as one with streamed requests: for a unary request, gRPC would
    # receive it before it runs any code of this server.
    behavior = behavior_of(handler)
    # A streaming handler may also be a coroutine that writes its responses, such as health's Watch.
    wrapper = _serve_responses if inspect.isasyncgenfunction(behavior) else _serve_one_response
    receive = (_request_stream if handler.request_streaming else _single_request)(handler, receiver)
    # gRPC exchanges bytes with the wrapper; only handlers that write need a serializer.
    serializer: Any = handler.response_serializer if handler.response_streaming else None
    return method_handler(
        wrapper(behavior, receive, method, chain, active),
        streams_requests=True,
        streams_responses=handler.response_streaming,
        serializer=serializer,
    )


def _single_request(
    handler: grpc.RpcMethodHandler[Any, Any], receiver: RequestReceiver
) -> _Receive:
    """Return a function that receives and decodes the one request of a call."""
    decode: Any = handler.request_deserializer
    return partial(receiver.receive, decode)


def _request_stream(
    handler: grpc.RpcMethodHandler[Any, Any], receiver: RequestReceiver
) -> _Receive:
    """Return a function that returns an iterator over the requests of a stream.

    Each request is received and decoded when the iterator is advanced.
    """
    decode: Any = handler.request_deserializer

    async def requests(call: Call) -> AsyncIterator[Any]:
        while (data := await receiver.next(call)) is not None:
            yield decode(data)

    async def received(call: Call) -> AsyncIterator[Any]:
        return requests(call)

    return received


def _serve_one_response(
    behavior: Any, receive: _Receive, method: str, chain: Chain, active: _ActiveCalls
) -> Any:
    async def serve(requests: Any, context: _Context) -> Any:
        lifecycle = _CallLifecycle(method, context, chain, active)
        try:
            waiting = lifecycle.start()
            if waiting is not None:
                await waiting
            response = await behavior(await receive(lifecycle.call), context)
            response = lifecycle.checked_bytes(response)
        except BaseException as error:
            await lifecycle.fail(error)
            raise
        lifecycle.finish()
        return response

    return serve


def _serve_responses(
    behavior: Any, receive: _Receive, method: str, chain: Chain, active: _ActiveCalls
) -> Any:
    async def serve(requests: Any, context: _Context) -> AsyncIterator[Any]:
        lifecycle = _CallLifecycle(method, context, chain, active)
        try:
            waiting = lifecycle.start()
            if waiting is not None:
                await waiting
            request = await receive(lifecycle.call)
            # Closed at once when the caller leaves, not at some later garbage collection.
            async with aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    data = lifecycle.checked_bytes(response)
                    yield data
                    lifecycle.sent(data)
        except BaseException as error:
            await lifecycle.fail(error)
            raise
        lifecycle.finish()

    return serve


_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def _status_code(code: object) -> grpc.StatusCode:
    """Return the status of a context, which holds a number although its stubs differ."""
    if isinstance(code, int):
        return _STATUS_CODES[code]
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


class _CallLifecycle:
    """Runs one call inside its hooks, and turns exceptions into statuses."""

    def __init__(
        self,
        method: str,
        context: _Context,
        chain: Chain,
        active: _ActiveCalls,
    ) -> None:
        metadata = _metadata.get(None)
        if metadata is None:  # a registered method, whose handler is not looked up
            metadata = as_metadata(context.invocation_metadata())
        self.call = Call(method, context, time.monotonic(), metadata)
        self._chain = chain
        self._active = active
        self._started = 0
        active.count += 1

    def start(self) -> Awaitable[None] | None:
        """Start the hooks; return an awaitable for the rest of the start if one of them waits."""
        call = self.call
        enter_call(call)
        starts = self._chain.starts
        for index in range(self._started, len(starts)):
            waiting = starts[index](call)
            if waiting is not None:
                return self._continue_start(waiting)
            self._started = index + 1
        return None

    async def _continue_start(self, waiting: Awaitable[None] | None) -> None:
        while waiting is not None:
            await waiting
            self._started += 1
            waiting = self.start()

    def checked_bytes(self, response: Any) -> Any:
        """Return the bytes of a response for gRPC, after the hooks have checked the call again.

        A handler that writes its responses itself returns None, and so does this. Raises the error
        of a hook that refuses the response, because a decision at the start may be outdated.
        """
        call, chain = self.call, self._chain
        for check in chain.response_checks:
            check(call)
        if response is None:
            return None
        data = serialize(response)
        for send in chain.sends:
            send(call, len(data))
        return data

    def sent(self, data: bytes) -> None:
        """Tell the hooks that gRPC has sent a message and the call continues."""
        for sent in self._chain.sents:
            sent(self.call, len(data))

    def finish(self) -> None:
        """End a successful call."""
        self.call.context.set_trailing_metadata(tuple(self.call.trailing))
        self._end_hooks()

    async def fail(self, error: BaseException) -> None:
        """End a call that raised: return if `error` shall propagate, else abort with its status."""
        call = self.call
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            call.code = grpc.StatusCode.CANCELLED
            self._end_hooks()
        elif isinstance(error, grpc.aio.AbortError):
            call.code = _status_code(call.context.code())
            self._end_hooks()
        else:
            table = None if call.access is None else call.access.table
            failure = rpc_error_of(error, call.request_id, table)
            call.code, call.reason = failure.code, failure.reason
            if not isinstance(error, ProcessorError):
                _log.error("call_failed", method=call.method, exc_info=error)
            self._end_hooks()
            await call.context.abort_with_status(grpc_status(failure, call.trailing))

    def _end_hooks(self) -> None:
        for index, end in self._chain.ends:
            if index < self._started:
                end(self.call)
        self._active.leave()
