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
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

import grpc
import structlog

from dynamodb_processor_server.errors import ProcessorError
from dynamodb_processor_server.rpc.call_context import Call, as_metadata, enter_call, entered_call
from dynamodb_processor_server.rpc.encode.status import grpc_status, rpc_error_of
from dynamodb_processor_server.rpc.interceptors.call_hook import CallHook, Chain
from dynamodb_processor_server.rpc.method_handlers import behavior_of, method_handler, serialize
from dynamodb_processor_server.rpc.request_receiver import RequestReceiver

_log = structlog.get_logger(__name__)
_Context = grpc.aio.ServicerContext[Any, Any]
_Receive = Callable[[Call], Awaitable[Any]]


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
        method = handler_call_details.method
        # The handler runs in the same task. gRPC has converted the metadata for this look-up, and
        # would convert it anew for its context: 10 us of a call's 250.
        enter_call(Call(method, time.monotonic(), handler_call_details.invocation_metadata))
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


class _Behavior(partial[Any]):
    """A function of a handler that gRPC knows at once to be asynchronous.

    gRPC asks `inspect` twice in each call whether the function is awaitable or else a coroutine
    function. The first answer takes two Python functions, the second one five more.
    """


Awaitable.register(_Behavior)


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
    hooks = _MethodHooks(method, chain, active)
    # gRPC exchanges bytes with the wrapper; only handlers that write need a serializer.
    serializer: Any = handler.response_serializer if handler.response_streaming else None
    return method_handler(
        wrapper(behavior, receive, hooks),
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


def _serve_one_response(behavior: Any, receive: _Receive, hooks: _MethodHooks) -> Any:
    async def serve(requests: Any, context: _Context) -> Any:
        call = hooks.enter(context)
        try:
            waiting = hooks.start(call)
            if waiting is not None:
                await waiting
            response = await behavior(await receive(call), context)
            response = hooks.checked_bytes(call, response)
        except BaseException as error:
            await hooks.fail(call, error)
            raise
        hooks.finish(call)
        return response

    return _Behavior(serve)


def _serve_responses(behavior: Any, receive: _Receive, hooks: _MethodHooks) -> Any:
    async def serve(requests: Any, context: _Context) -> AsyncIterator[Any]:
        call = hooks.enter(context)
        try:
            waiting = hooks.start(call)
            if waiting is not None:
                await waiting
            request = await receive(call)
            # Closed at once when the caller leaves, not at some later garbage collection.
            async with aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    data = hooks.checked_bytes(call, response)
                    yield data
                    hooks.sent(call, data)
        except BaseException as error:
            await hooks.fail(call, error)
            raise
        hooks.finish(call)

    return serve


# gRPC rounds a timeout up by at most such a part when it sends it. So a client gives up a little
# before the deadline that the server knows.
_DEADLINE_ROUNDING: Final = 0.01
_STATUS_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


def _status_code(code: object) -> grpc.StatusCode:
    """Return the status of a context, which holds a number although its stubs differ."""
    if isinstance(code, int):
        return _STATUS_CODES[code]
    return code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _status_of_cancellation(call: Call) -> grpc.StatusCode:
    """Return the status of a call that gRPC has cancelled: at its deadline, or for its caller."""
    left: float | None = call.context.time_remaining()
    if left is None or left > _DEADLINE_ROUNDING * (time.monotonic() - call.started + left):
        return grpc.StatusCode.CANCELLED
    return grpc.StatusCode.DEADLINE_EXCEEDED


class _MethodHooks:
    """Runs the calls of one method inside their hooks, and turns exceptions into statuses."""

    def __init__(self, method: str, chain: Chain, active: _ActiveCalls) -> None:
        self._method = method
        self._chain = chain
        self._active = active

    def enter(self, context: _Context) -> Call:
        """Return the call of this task, and count it until its hooks have ended."""
        call = entered_call()
        if call is None:  # a registered method, whose handler is not looked up
            metadata = as_metadata(context.invocation_metadata())
            call = Call(self._method, time.monotonic(), metadata)
            enter_call(call)
        call.context = context
        self._active.count += 1
        return call

    def start(self, call: Call) -> Awaitable[None] | None:
        """Start the hooks; return an awaitable for the rest of the start if one of them waits."""
        for start in self._chain.starts[call.started_hooks :]:
            waiting = start(call)
            if waiting is not None:
                return self._continue_start(call, waiting)
            call.started_hooks += 1
        return None

    async def _continue_start(self, call: Call, waiting: Awaitable[None] | None) -> None:
        while waiting is not None:
            await waiting
            call.started_hooks += 1
            waiting = self.start(call)

    def checked_bytes(self, call: Call, response: Any) -> Any:
        """Return the bytes of a response for gRPC, after the hooks have checked the call again.

        A handler that writes its responses itself returns None, and so does this. Raises the error
        of a hook that refuses the response, because a decision at the start may be outdated.
        """
        chain = self._chain
        for check in chain.response_checks:
            check(call)
        if response is None:
            return None
        data = response if isinstance(response, bytes) else serialize(response)
        for send in chain.sends:
            send(call, len(data))
        return data

    def sent(self, call: Call, data: bytes) -> None:
        """Tell the hooks that gRPC has sent a message and the call continues."""
        for sent in self._chain.sents:
            sent(call, len(data))

    def finish(self, call: Call) -> None:
        """End a successful call."""
        call.context.set_trailing_metadata(call.trailing)
        for _, end in self._chain.ends:
            end(call)
        self._active.leave()

    async def fail(self, call: Call, error: BaseException) -> None:
        """End a call that raised: return if `error` shall propagate, else abort with its status."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            call.code = _status_of_cancellation(call)
            self._end_started(call)
        elif isinstance(error, grpc.aio.AbortError):
            call.code = _status_code(call.context.code())
            self._end_started(call)
        else:
            table = None if call.access is None else call.access.table
            failure = rpc_error_of(error, call.request_id, table)
            call.code, call.reason = failure.code, failure.reason
            if not isinstance(error, ProcessorError):
                _log.error("call_failed", method=call.method, exc_info=error)
            self._end_started(call)
            await call.context.abort_with_status(grpc_status(failure, call.trailing))

    def _end_started(self, call: Call) -> None:
        """End the hooks that were started."""
        for index, end in self._chain.ends:
            if index < call.started_hooks:
                end(call)
        self._active.leave()
