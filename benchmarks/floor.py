"""The floor: a bare `grpc.aio` server that answers every read with the bytes in a file.

Nothing is parsed, looked up or counted: its cost is that of gRPC itself in Python.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import grpc
import uvloop


async def serve(payload: bytes) -> None:
    """Serve on a free port of the loopback interface, print it, and go on until killed."""

    async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        return payload

    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        method: grpc.unary_unary_rpc_method_handler(answer) for method in ("Query", "BatchGetItems")
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("dynamodb_processor.v1.QueryService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1]).read_bytes()))
