"""Calls by the stubs of betterproto2, on grpclib."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

from google.rpc import error_details_pb2  # noqa: F401 - grpclib decodes details of known types
from grpclib.client import Channel
from grpclib.exceptions import GRPCError
from loop import failure, serve

sys.path.insert(0, sys.argv[2])
from betterproto2_contract.dynamodb_processor import v1


async def main() -> None:
    """Serve calls on one channel."""
    host, _, port = sys.argv[1].rpartition(":")
    async with Channel(host, int(port)) as channel:

        async def call(asked: dict[str, Any]) -> dict[str, Any]:
            stub = getattr(v1, f"{asked['service']}Stub")(channel)
            name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", asked["method"]).lower()
            request = getattr(v1, f"{asked['method']}Request").from_dict(asked["request"])
            options = {"timeout": asked["timeout"], "metadata": asked["metadata"]}
            messages: list[Any] = []
            try:
                answer = getattr(stub, name)(request, **options)
                if asked["streams"]:
                    messages += [message.to_dict() async for message in answer]
                else:
                    messages.append((await answer).to_dict())
            except GRPCError as error:
                details = [
                    (each.DESCRIPTOR.full_name, each.SerializeToString())
                    for each in error.details or ()
                ]
                return failure(messages, error.status.value, error.message, details)
            return {"messages": messages, "code": 0}

        await serve(call)


asyncio.run(main())
