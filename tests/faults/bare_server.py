"""A `grpc.aio` server that answers every call with nothing: what gRPC itself costs in Python."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc


async def serve() -> None:
    """Serve on a free port of the loopback interface, print it, and go on until killed."""

    async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return b""

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Call": grpc.unary_unary_rpc_method_handler(answer)
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(serve())
