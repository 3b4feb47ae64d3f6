"""A `grpc.aio` server that answers calls with zeros: the cost of gRPC itself in Python.

Run as a script; each argument is a method: its name, the seconds that a call of it waits, those of
the processor that it takes, the bytes of a message, and how many messages its stream has, or
nothing if it is unary. Besides, `Spent` returns the seconds of the processor that all took so far.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import astuple, dataclass
from typing import Any
from uuid import uuid4

import grpc
import uvloop

_Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class BareMethod:
    """A method that answers with `size` bytes, or with `messages` of them.

    Each call waits `seconds`, and keeps the loop busy for `busy` seconds of the processor besides.
    """

    name: str
    seconds: float
    busy: float
    size: int
    messages: int | None = None

    def argument(self) -> str:
        """Return the method as an argument of the script."""
        return ":".join(str(field) for field in astuple(self) if field is not None)

    @staticmethod
    def of_argument(text: str) -> BareMethod:
        """Return the method of an argument."""
        name, seconds, busy, *numbers = text.split(":")
        return BareMethod(name, float(seconds), float(busy), *map(int, numbers))

    def handler(self) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Return the handler of its calls."""
        if self.messages is None:
            return grpc.unary_unary_rpc_method_handler(self._answer)
        return grpc.unary_stream_rpc_method_handler(self._stream)

    async def _answer(self, request: bytes, context: _Context) -> bytes:
        _identify(context)
        _spend(self.busy / 2)
        if self.seconds:
            await asyncio.sleep(self.seconds)
        _spend(self.busy / 2)
        return bytes(self.size)

    async def _stream(self, request: bytes, context: _Context) -> AsyncIterator[bytes]:
        assert self.messages
        _identify(context)
        for _ in range(self.messages):
            await asyncio.sleep(self.seconds / self.messages)
            _spend(self.busy / self.messages)
            yield bytes(self.size)


async def serve(methods: list[BareMethod]) -> None:
    """Serve on a free port of the loopback interface, print it, and go on until killed."""
    handlers = {method.name: method.handler() for method in methods}
    handlers["Spent"] = grpc.unary_unary_rpc_method_handler(_spent)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Bare", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


async def _spent(request: bytes, context: _Context) -> bytes:
    return str(time.process_time()).encode()


def _spend(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def _identify(context: _Context) -> None:
    """Send an id, as the service does at the end of every call."""
    context.set_trailing_metadata((("x-request-id", uuid4().hex),))


if __name__ == "__main__":
    uvloop.run(serve([BareMethod.of_argument(text) for text in sys.argv[1:]]))
