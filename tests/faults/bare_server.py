"""A `grpc.aio` server that answers calls with bytes it is given: what gRPC itself costs in Python.

Run as a script: the seconds that a call takes, the bytes of an answer, those of a stream's message.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import uuid4

import grpc

#: How many messages a stream has: as many as one of the service of eight items, by twos.
MESSAGES: Final = 5

_Context = grpc.aio.ServicerContext[Any, Any]


async def serve(seconds: float, answer_bytes: int, message_bytes: int) -> None:
    """Serve on a free port of the loopback interface, print it, and go on until killed."""

    async def answer(request: bytes, context: _Context) -> bytes:
        _identify(context)
        await asyncio.sleep(seconds)
        return bytes(answer_bytes)

    async def stream(request: bytes, context: _Context) -> AsyncIterator[bytes]:
        _identify(context)
        for _ in range(MESSAGES):
            await asyncio.sleep(seconds / MESSAGES)
            yield bytes(message_bytes)

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Call": grpc.unary_unary_rpc_method_handler(answer),
        "Stream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def _identify(context: _Context) -> None:
    """Send what every call of the service ends with: an id of its own."""
    context.set_trailing_metadata((("x-request-id", uuid4().hex),))


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
