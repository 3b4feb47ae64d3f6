"""Tests of the pipe by which gRPC wakes the event loop."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from dynamodb_processor_server.rpc.wakeups import PipeEnd
from tests.support.lengths import PATIENCE

_CALLS = """
import asyncio, socket
from dynamodb_processor_server.rpc.wakeups import share_wakeups
import grpc

async def double(request, context):
    await asyncio.sleep(0)
    return 2 * request

async def serve():
    make_pair = socket.socketpair
    print("taken", share_wakeups(), socket.socketpair is make_pair)
    server = grpc.aio.server()
    handlers = {"Double": grpc.unary_unary_rpc_method_handler(double)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/test.Test/Double")
        answers = await asyncio.gather(*(call(str(n).encode()) for n in range(200)))
        print("right", answers == [2 * str(n).encode() for n in range(200)])
    await server.stop(None)
    print("taken again", share_wakeups())

asyncio.run(serve())
"""


@pytest.fixture
def ends() -> Iterator[tuple[PipeEnd, PipeEnd]]:
    """Both ends of a pipe: to read from, and to write to."""
    reader, writer = map(PipeEnd, os.pipe())
    with closing(reader), closing(writer):
        yield reader, writer


def test_grpc_takes_the_pipe_and_serves_calls_by_it() -> None:
    """A release of gRPC that wakes the loop in another way would not take it."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLS],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    assert done.stdout.splitlines() == ["taken True True", "right True", "taken again False"]


def test_many_bytes_wake_the_loop_once(ends: tuple[PipeEnd, PipeEnd]) -> None:
    """The loop takes all bytes at once, although gRPC asks for one."""
    reader, writer = ends
    taken = []

    async def run() -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(reader, lambda: taken.append(reader.recv(1)))
        for _ in range(5):
            os.write(writer.fileno(), b"1")
        for _ in range(10):
            await asyncio.sleep(0)
        loop.remove_reader(reader)

    asyncio.run(run())
    assert taken == [b"11111"]


def test_a_full_pipe_does_not_block_its_writer(ends: tuple[PipeEnd, PipeEnd]) -> None:
    """A busy loop does not make gRPC's thread wait: the bytes that are there will wake it."""
    reader, writer = ends
    with suppress(BlockingIOError):
        while True:
            os.write(writer.fileno(), bytes(1_024))
    with pytest.raises(BlockingIOError):
        os.write(writer.fileno(), b"1")
    assert len(reader.recv(1)) == 4_096


def test_an_end_can_be_made_to_wait(ends: tuple[PipeEnd, PipeEnd]) -> None:
    """The mode is set as that of a socket: gRPC sets the one of its reading end itself."""
    reader, _ = ends
    assert not os.get_blocking(reader.fileno())
    reader.setblocking(True)
    assert os.get_blocking(reader.fileno())
