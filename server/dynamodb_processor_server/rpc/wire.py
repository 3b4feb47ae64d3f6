"""Services on the wire: how requests are decoded, and handlers that may answer with bytes.

`rpc.interceptors.adapter` decodes a request behind the hooks: what a handler is registered with as
its deserializer runs only for callers whom every hook has let through.

A page's items are serialized once, when they are read, and kept that way. Serialized messages
concatenate, so a handler may return `items + rest` as bytes; everything else is a message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from dynamodb_processor_server.errors import InvalidRequest

# Requests, and the bytes of one, that are remembered.
_MAX_REMEMBERED: Final = 2_048
_MAX_REMEMBERED_BYTES: Final = 1_024  # what is remembered with one takes up to forty times as many


_HANDLERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def serialize(response: Message | bytes) -> bytes:
    """Return a response's bytes."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def service_handler(
    service: ServiceDescriptor,
    servicer: object,
    readers: Mapping[str, Callable[[Any], object]] = MappingProxyType({}),
) -> grpc.GenericRpcHandler:
    """Return the handler of all methods of a service, which `servicer` has under their names.

    `readers` say, by method, what to make of a message before the servicer gets it. That is
    remembered by the request's bytes, so it must depend on nothing else and not be changed.
    """
    handlers = {
        method.name: _method_handler(method, servicer, readers.get(method.name))
        for method in service.methods
    }
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _method_handler(
    method: MethodDescriptor, servicer: object, reader: Callable[[Any], object] | None
) -> grpc.RpcMethodHandler[Any, Any]:
    deserialize = _deserializer(GetMessageClass(method.input_type))
    make = _HANDLERS[method.client_streaming, method.server_streaming]
    return make(
        getattr(servicer, method.name),
        request_deserializer=deserialize if reader is None else _remembering(deserialize, reader),
        response_serializer=serialize,
    )


def _deserializer(message_class: type[Message]) -> Callable[[bytes], Any]:
    parse = message_class.FromString

    def deserialize(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            raise InvalidRequest.of("request", "is not a message of this method's type") from None

    return deserialize


def _remembering(
    deserialize: Callable[[bytes], Any], reader: Callable[[Any], object]
) -> Callable[[bytes], Any]:
    def read(data: bytes) -> Any:
        return reader(deserialize(data))

    remembered = lru_cache(_MAX_REMEMBERED)(read)
    return lambda data: remembered(data) if len(data) <= _MAX_REMEMBERED_BYTES else read(data)
