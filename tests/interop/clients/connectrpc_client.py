"""Calls by connectrpc for Python, speaking gRPC over HTTP/2, with messages of protobuf-py."""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
from typing import Any

from connectrpc.errors import ConnectError
from connectrpc.protocol import ProtocolType
from loop import failure, serve
from pyqwest import Client, HTTPTransport, HTTPVersion

sys.path.insert(0, sys.argv[2])
_MODULES = {"QueryService": "query", "CatalogService": "catalog", "CacheService": "cache"}
_CODES = (
    *("ok", "canceled", "unknown", "invalid_argument", "deadline_exceeded", "not_found"),
    *("already_exists", "permission_denied", "resource_exhausted", "failed_precondition"),
    *("aborted", "out_of_range", "unimplemented", "internal", "unavailable", "data_loss"),
    "unauthenticated",
)


async def main() -> None:
    """Serve calls on one transport."""
    transport = HTTPTransport(http_version=HTTPVersion.HTTP2)

    async def call(asked: dict[str, Any]) -> dict[str, Any]:
        module = f"connectrpc_contract.dynamodb_processor.v1.{_MODULES[asked['service']]}_service"
        client_type = getattr(
            importlib.import_module(f"{module}_connect"), f"{asked['service']}Client"
        )
        request_type = getattr(importlib.import_module(f"{module}_pb"), f"{asked['method']}Request")
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", asked["method"]).lower()
        request = request_type.from_json(json.dumps(asked["request"]))
        options = {"headers": asked["metadata"], "timeout_ms": int(asked["timeout"] * 1000)}
        messages: list[Any] = []
        client = client_type(
            f"http://{sys.argv[1]}", protocol=ProtocolType.GRPC, http_client=Client(transport)
        )
        try:
            answer = getattr(client, name)(request, **options)
            if asked["streams"]:
                messages += [json.loads(message.to_json()) async for message in answer]
            else:
                messages.append(json.loads((await answer).to_json()))
        except ConnectError as error:
            details = [(each.type_name, each.message_bytes) for each in error.details]
            code = _CODES.index(error.code.value)
            return failure(messages, code, error.message, details)
        return {"messages": messages, "code": 0}

    await serve(call)


asyncio.run(main())
