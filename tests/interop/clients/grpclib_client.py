"""Calls by grpclib with messages of Google's protobuf."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2  # noqa: F401 - grpclib decodes details of known types
from grpclib.client import Channel, UnaryStreamMethod, UnaryUnaryMethod
from grpclib.exceptions import GRPCError
from loop import failure, serve

from dynamodb_processor.v1 import cache_service_pb2, catalog_service_pb2, query_service_pb2

_SERVICES = {
    name: service
    for module in (cache_service_pb2, catalog_service_pb2, query_service_pb2)
    for name, service in module.DESCRIPTOR.services_by_name.items()
}


async def main() -> None:
    """Serve calls on one channel."""
    host, _, port = sys.argv[1].rpartition(":")
    async with Channel(host, int(port)) as channel:

        async def call(asked: dict[str, Any]) -> dict[str, Any]:
            service = _SERVICES[asked["service"]]
            method = service.methods_by_name[asked["method"]]
            kind = UnaryStreamMethod if method.server_streaming else UnaryUnaryMethod
            request_type = GetMessageClass(method.input_type)
            request = json_format.ParseDict(asked["request"], request_type())
            name = f"/{service.full_name}/{method.name}"
            stub = kind(channel, name, request_type, GetMessageClass(method.output_type))
            options = {"timeout": asked["timeout"], "metadata": asked["metadata"]}
            messages: list[Any] = []
            try:
                if method.server_streaming:
                    async with stub.open(**options) as stream:
                        await stream.send_message(request, end=True)
                        messages += [_json(message) async for message in stream]
                else:
                    messages.append(_json(await stub(request, **options)))
            except GRPCError as error:
                details = [
                    (each.DESCRIPTOR.full_name, each.SerializeToString())
                    for each in error.details or ()
                ]
                return failure(messages, error.status.value, error.message, details)
            return {"messages": messages, "code": 0}

        await serve(call)


def _json(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


asyncio.run(main())
