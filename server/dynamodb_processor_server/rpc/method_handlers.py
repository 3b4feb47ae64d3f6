"""Builds gRPC's method handlers: how requests are decoded and responses serialized.

`rpc.interceptors.chain` decodes a request after the hooks: the deserializer of a handler runs only
for calls that every hook has accepted.

A page's items are serialized once, when they are read, and stored that way. Serialized messages
can be concatenated, so a handler may return `items + rest` as bytes; other responses are messages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from dynamodb_processor_server.errors import InvalidRequest
from dynamodb_processor_server.rpc.decode.field_count import fields_of, has_more_fields

#: Bytes of a request of any method.
MAX_REQUEST_BYTES: Final = 1024 * 1024

# Fields of a request, nested ones included: 5,000 values take up to five each. The fields of
# requests up to _MAX_UNCOUNTED_BYTES are too few to matter.
_MAX_FIELDS: Final = 30_000
_MAX_UNCOUNTED_BYTES: Final = 32 * 1024

# Bytes of the largest request that is cached; the memory of a cached request with all that is
# cached with it, per byte of the request and per request; and the memory for one method's cache.
_MAX_CACHED_BYTES: Final = 1_024
_BYTES_PER_BYTE: Final = 2
_BYTES_PER_REQUEST: Final = 800
_MAX_CACHE_BYTES: Final = 3_584 * 1024


_HANDLERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def method_handler(
    behavior: Any,
    *,
    streams_requests: bool,
    streams_responses: bool,
    deserializer: Callable[[bytes], Any] | None = None,
    serializer: Callable[[Any], bytes] | None = None,
) -> grpc.RpcMethodHandler[Any, Any]:
    """Return the handler of one method, of the one of gRPC's four kinds that fits."""
    make: Any = _HANDLERS[streams_requests, streams_responses]
    handler: grpc.RpcMethodHandler[Any, Any] = make(behavior, deserializer, serializer)
    return handler


def behavior_of(handler: grpc.RpcMethodHandler[Any, Any]) -> Any:
    """Return the function of a handler, whichever of the four kinds the handler is."""
    return (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )


def serialize(response: Message | bytes) -> bytes:
    """Return a response's bytes."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def service_handler(
    service: ServiceDescriptor,
    servicer: object,
    readers: Mapping[str, Callable[[Any, bytes], object]] = MappingProxyType({}),
    is_kept: Callable[[Any], bool] = lambda request: True,
    max_bytes: int = MAX_REQUEST_BYTES,
    read_large: Callable[[int, Callable[[], Any]], Any] = lambda size, read: read(),
) -> grpc.GenericRpcHandler:
    """Return the handler of all methods of a service, which `servicer` has under their names.

    Args:
        service: The service.
        servicer: The implementation of the service.
        readers: By method, a function that converts a message, given with its bytes, before the
            servicer gets it. The result is cached by these bytes, so it must depend on nothing else
            and must not be changed.
        is_kept: Returns whether the result of a reader is cached.
        max_bytes: Bytes of a request; a larger one is refused before it is decoded.
        read_large: Runs the function that reads a request too large to be cached, given its size in
            bytes. It returns the function's result or a coroutine of it.
    """
    handlers = {}
    for method in service.methods:
        decode = _decoder(method.input_type, max_bytes)
        reader = readers.get(method.name)
        read = (
            _by_size(decode, read_large)
            if reader is None
            else _RequestCache(decode, reader, is_kept, read_large)
        )
        handlers[method.name] = method_handler(
            getattr(servicer, method.name),
            streams_requests=method.client_streaming,
            streams_responses=method.server_streaming,
            deserializer=read,
            serializer=serialize,
        )
    return grpc.method_handlers_generic_handler(service.full_name, handlers)


def _decoder(message: Descriptor, max_bytes: int) -> Callable[[bytes], Any]:
    parse, fields = GetMessageClass(message).FromString, fields_of(message)

    def decode(data: bytes) -> Any:
        if len(data) > max_bytes:
            raise InvalidRequest.of("request", f"has at most {max_bytes} bytes, not {len(data)}")
        if len(data) > _MAX_UNCOUNTED_BYTES and has_more_fields(data, fields, _MAX_FIELDS):
            raise InvalidRequest.of(
                "request", f"has more than {_MAX_FIELDS} fields, as many as all it may hold needs"
            )
        try:
            return parse(data)
        except DecodeError:
            raise InvalidRequest.of("request", "is not a message of this method's type") from None

    return decode


def _by_size(
    decode: Callable[[bytes], Any], read_large: Callable[[int, Callable[[], Any]], Any]
) -> Callable[[bytes], Any]:
    """Return a function that decodes a request, small or large."""

    def read(data: bytes) -> Any:
        size = len(data)
        return decode(data) if size <= _MAX_CACHED_BYTES else read_large(size, lambda: decode(data))

    return read


class _RequestCache:
    """Reads requests, and caches small ones by their bytes.

    The cache has two generations. A request that is found in the older one is copied to the newer
    one. When the newer one has half of the memory, the older one is dropped. A hit is one lookup in
    a dictionary.
    """

    def __init__(
        self,
        decode: Callable[[bytes], Any],
        reader: Callable[[Any, bytes], object],
        is_kept: Callable[[Any], bool],
        read_large: Callable[[int, Callable[[], Any]], Any],
    ) -> None:
        self._decode = decode
        self._reader = reader
        self._is_kept = is_kept
        self._read_large = read_large
        self._newer: dict[bytes, object] = {}
        self._older: dict[bytes, object] = {}
        self._bytes = 0

    def __call__(self, data: bytes) -> object:
        """Return the reader's result for a request, or as `read_large` does for a large one."""
        if len(data) > _MAX_CACHED_BYTES:
            return self._read_large(len(data), lambda: self._reader(self._decode(data), data))
        known = self._newer.get(data)
        return self._find(data) if known is None else known

    def _find(self, data: bytes) -> object:
        request = self._older.get(data)
        if request is None:
            request = self._reader(self._decode(data), data)
            if not self._is_kept(request):
                return request
        size = _BYTES_PER_BYTE * len(data) + _BYTES_PER_REQUEST
        if self._bytes + size > _MAX_CACHE_BYTES // 2:
            self._newer, self._older, self._bytes = {}, self._newer, 0
        self._newer[data] = request
        self._bytes += size
        return request
