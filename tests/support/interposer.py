"""A gRPC proxy that passes calls on to a server, and changes them where a test plants a fault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

Metadata: TypeAlias = list[tuple[str, str | bytes]]
_NOT_PASSED_ON = ("user-agent", "grpc-", ":")


class Refused(Exception):
    """The status with which the proxy ends a call by itself."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Fault:
    """Changes that the proxy makes to calls of one method.

    Attributes:
        method: The last part of the method's name.
        request_type: The type of its request.
        response_type: The type of its response, or of each message of its stream.
        on_request: Changes a request and its metadata in place.
        on_response: Changes a response in place, knowing its request.
        on_error: Returns a status in place of the server's error, or None to pass that on.
    """

    method: str
    request_type: type[Message]
    response_type: type[Message]
    on_request: Callable[[Any, Metadata], None] | None = None
    on_response: Callable[[Any, Any], None] | None = None
    on_error: Callable[[Any, grpc.aio.AioRpcError], Refused | None] | None = None


class Interposer(grpc.GenericRpcHandler):
    """Passes every call on, with its metadata, its status and its trailing metadata."""

    def __init__(self, channel: grpc.aio.Channel, faults: Sequence[Fault]) -> None:
        self._channel = channel
        self._faults = {fault.method: fault for fault in faults}

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the handler of a method; only StreamQuery has a stream of responses."""
        method = details.method
        fault = self._faults.get(method.rpartition("/")[2])
        metadata = [
            (name, value)
            for name, value in details.invocation_metadata or ()
            if not name.startswith(_NOT_PASSED_ON)
        ]
        if method.endswith("/StreamQuery"):
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, metadata, fault))
        return grpc.unary_unary_rpc_method_handler(self._unary(method, metadata, fault))

    def _unary(self, method: str, metadata: Metadata, fault: Fault | None) -> Any:
        async def call(data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            request = _parsed(fault, data)
            try:
                sent = _changed_request(fault, request, data, metadata)
                forward: Any = self._channel.unary_unary(method)
                answer = await forward(sent, metadata=metadata, timeout=context.time_remaining())
                return _changed_response(fault, request, answer)
            except grpc.aio.AioRpcError as error:
                await _abort(context, fault, request, error)
                raise AssertionError from error  # not reached
            except Refused as refused:
                await context.abort(refused.code, refused.message)
                raise AssertionError from refused  # not reached

        return call

    def _streaming(self, method: str, metadata: Metadata, fault: Fault | None) -> Any:
        async def call(
            data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> AsyncIterator[bytes]:
            request = _parsed(fault, data)
            sent = _changed_request(fault, request, data, metadata)
            forward: Any = self._channel.unary_stream(method)
            try:
                async for message in forward(sent, metadata=metadata):
                    yield _changed_response(fault, request, message)
            except grpc.aio.AioRpcError as error:
                await _abort(context, fault, request, error)

        return call


@asynccontextmanager
async def open_interposer(target: str, faults: Sequence[Fault]) -> AsyncIterator[str]:
    """Serve a proxy for the server at `target`, and yield the proxy's address."""
    server = grpc.aio.server()
    async with grpc.aio.insecure_channel(target) as channel:
        server.add_generic_rpc_handlers((Interposer(channel, faults),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)


def _parsed(fault: Fault | None, data: bytes) -> Any:
    return None if fault is None else fault.request_type.FromString(data)


def _changed_request(fault: Fault | None, request: Any, data: bytes, metadata: Metadata) -> bytes:
    if fault is None or fault.on_request is None:
        return data
    changed = type(request).FromString(data)  # responses are changed by the caller's request
    fault.on_request(changed, metadata)
    return bytes(changed.SerializeToString())


def _changed_response(fault: Fault | None, request: Any, data: bytes) -> bytes:
    if fault is None or fault.on_response is None:
        return data
    response = fault.response_type.FromString(data)
    fault.on_response(request, response)
    return response.SerializeToString()


async def _abort(
    context: grpc.aio.ServicerContext[bytes, bytes],
    fault: Fault | None,
    request: Any,
    error: grpc.aio.AioRpcError,
) -> None:
    refused = fault.on_error(request, error) if fault and fault.on_error else None
    if refused is not None:
        await context.abort(refused.code, refused.message)
    trailing = tuple(error.trailing_metadata() or ())
    await context.abort(error.code(), error.details() or "", trailing)
