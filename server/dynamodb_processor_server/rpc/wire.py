"""Services on the wire: handlers that may answer with bytes.

A page's items are serialized once, when they are read, and kept that way. Serialized messages
concatenate, so a handler may return `items + rest` as bytes; everything else is a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

# What a handler gets where the bytes are not a message of the method's type.
UNREADABLE: Final = object()


def serialize(response: Message | bytes) -> bytes:
    """Return a response's bytes."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def service_handler(service: ServiceDescriptor, servicer: object) -> grpc.GenericRpcHandler:
    """Return the handler of all methods of a service, which `servicer` has under their names."""
    handlers = {method.name: _method_handler(method, servicer) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _method_handler(method: MethodDescriptor, servicer: object) -> grpc.RpcMethodHandler[Any, Any]:
    make = (
        grpc.unary_stream_rpc_method_handler
        if method.server_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    return make(
        getattr(servicer, method.name),
        request_deserializer=_deserializer(GetMessageClass(method.input_type)),
        response_serializer=serialize,
    )


def _deserializer(message_class: type[Message]) -> Callable[[bytes], Any]:
    parse = message_class.FromString

    def deserialize(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return UNREADABLE  # raising here would leave as INTERNAL

    return deserialize
