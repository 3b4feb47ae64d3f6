"""Tests of what only the synchronous client has: threads, running event loops and Ctrl-C.

The other tests of the client run against both: see the fixture `make_client`.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import pytest

import dynamodb_processor_client as asynchronous
from dynamodb_processor_client import Query, QueryError, sync
from tests.support.fake_service import Cut, FakeService

_THREADS = 20


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a thread, as the fake service needs the event loop."""
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, function, *arguments)


def read(address: str) -> list[int]:
    """Read the items of the fake service in each way."""
    with sync.QueryClient(address) as client:
        page = client.query(Query("numbers"), page_size=10)
        rest = client.stream(Query("numbers"), resume_token=page.next_page_token)
        assert client.count(Query("numbers")).value == 1_000
        assert client.get("numbers", [{"n": 7}, {"n": -1}]) == [{"n": 7}, None]
        return [int(item["n"]) for item in [*page.items, *rest]]


async def test_it_works_without_an_event_loop(service: FakeService) -> None:
    """A script calls it as any other library."""
    assert await in_thread(read, service.address) == list(range(1_000))


async def test_it_works_inside_a_running_loop(service: FakeService) -> None:
    """A notebook runs its cells on an event loop, where `asyncio.run` is refused."""

    async def cell() -> list[int]:
        assert asyncio.get_running_loop().is_running()
        return read(service.address)

    assert await in_thread(asyncio.run, cell()) == list(range(1_000))


async def test_threads_share_a_client(service: FakeService) -> None:
    """Calls and streams of 20 threads at once do not disturb each other, nor their resumptions."""
    service.cuts.extend([Cut(after=3)] * _THREADS)

    def work(client: sync.QueryClient, number: int) -> tuple[list[int], list[int]]:
        stream = client.stream(Query("numbers"), page_size=100)
        first = [int(next(stream)["n"]) for _ in range(150)]
        found = client.get("numbers", [{"n": number}])
        return [*first, *(int(item["n"]) for item in stream)], [int(found[0]["n"])]  # type: ignore[index]

    def run() -> list[tuple[list[int], list[int]]]:
        policy = sync.ResumePolicy(initial_backoff=0.01)
        with (
            sync.QueryClient(service.address, resume=policy) as client,
            ThreadPoolExecutor(_THREADS) as pool,
        ):
            return list(pool.map(partial(work, client), range(_THREADS)))

    results = await in_thread(run)
    assert results == [(list(range(1_000)), [number]) for number in range(_THREADS)]
    assert not service.cuts


async def test_another_thread_may_close_a_stream(service: FakeService) -> None:
    """The thread that waits for the next page sees the end of the iteration."""
    service.hang_after = 1

    def run() -> list[int]:
        with sync.QueryClient(service.address) as client, ThreadPoolExecutor(1) as pool:
            pages = client.pages(Query("numbers"), page_size=100)
            next(pages)
            rest = pool.submit(list, pages)
            pages.close()
            return [len(page.items) for page in rest.result(timeout=30)]

    assert await in_thread(run) == []
    await asyncio.wait_for(service.left.wait(), 10)


async def test_closing_the_client_ends_the_calls_of_other_threads(service: FakeService) -> None:
    """They fail at once with an error that says why, instead of at their deadline."""
    service.hang_after = 1

    def run() -> BaseException | None:
        client = sync.QueryClient(service.address).open()
        with ThreadPoolExecutor(1) as pool:
            pages = client.pages(Query("numbers"), page_size=100)
            next(pages)
            rest = pool.submit(list, pages)
            client.close()
            return rest.exception(timeout=30)

    error = await in_thread(run)
    assert isinstance(error, RuntimeError)
    assert "not open" in str(error)


async def test_a_closed_stream_keeps_its_place(service: FakeService) -> None:
    """After `close` the token is that of the half-read page, so that no item is lost."""

    def run() -> tuple[list[int], list[int]]:
        with sync.QueryClient(service.address) as client:
            with closing(client.stream(Query("numbers"), page_size=100)) as stream:
                first = [int(next(stream)["n"]) for _ in range(150)]
            assert list(stream) == []
            rest = client.stream(Query("numbers"), resume_token=stream.resume_token)
            return first, [int(item["n"]) for item in rest]

    first, rest = await in_thread(run)
    assert first == list(range(150))
    assert rest == list(range(100, 1_000))


# It says "waiting" when its main thread waits inside gRPC for a message, and not a moment before.
_INTERRUPTED = """
import sys
import threading
import time
from dynamodb_processor_client.sync import Query, QueryClient


def waits(frame):
    if frame.f_code.co_name != "wait":
        return False
    while frame and not frame.f_globals["__name__"].startswith("grpc."):
        frame = frame.f_back
    return frame is not None


def tell():
    main = threading.main_thread().ident
    while not waits(sys._current_frames()[main]):
        time.sleep(0.01)
    print("waiting", flush=True)


with QueryClient(sys.argv[1]) as client:
    stream = client.stream(Query("numbers"), page_size=100)
    received = [next(stream) for _ in range(200)]
    threading.Thread(target=tell).start()
    try:
        next(stream)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    sys.stdin.readline()
    received += stream
print(len(received), {item["n"] for item in received} == set(range(1_000)))
"""


async def test_an_interrupted_wait_loses_nothing(service: FakeService) -> None:
    """Ctrl-C ends the wait for a page at once, and iteration continues with the next item."""
    service.hang_after = 2
    pipe = asyncio.subprocess.PIPE
    # A child inherits ignored signals, and a shell ignores Ctrl-C for background processes.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _INTERRUPTED, service.address, stdin=pipe, stdout=pipe
        )
    finally:
        signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"waiting\n"
    process.send_signal(signal.SIGINT)
    assert await process.stdout.readline() == b"interrupted\n"
    service.hang_after = None
    output, _ = await asyncio.wait_for(process.communicate(b"\n"), 60)
    assert output == b"1000 True\n"


async def test_a_coroutine_function_cannot_give_the_token(service: FakeService) -> None:
    """It needs an event loop; the error names the client that has one."""

    async def give() -> str:
        return "a.b.c"

    def run() -> None:
        with sync.QueryClient(service.address, token=give) as client:  # type: ignore[arg-type]
            client.query(Query("numbers"))

    with pytest.raises(TypeError, match=r"token: .* use dynamodb_processor_client\.QueryClient"):
        await in_thread(run)
    assert service.metadata == []


def test_a_client_has_to_be_open_in_this_process() -> None:
    """Outside `with`, and in a forked child, the error says what to do."""
    client = sync.QueryClient("127.0.0.1:1")
    with pytest.raises(RuntimeError, match=r"inside `with`, or call open\(\)"):
        client.query(Query("numbers"))
    with client:
        with pytest.raises(RuntimeError, match="open already"):
            client.open()
        client._owner = os.getpid() + 1
        with pytest.raises(RuntimeError, match="opened in another process: open one in each"):
            client.query(Query("numbers"))


def test_a_policy_of_the_other_client_is_refused() -> None:
    """Its `sleep` is a coroutine function, so the pauses would take no time."""
    with pytest.raises(TypeError, match=r"resume is a dynamodb_processor_client\.sync\.\S+, not"):
        sync.QueryClient("127.0.0.1:1", resume=asynchronous.ResumePolicy())  # type: ignore[arg-type]


def test_both_clients_have_the_same_names() -> None:
    """Each public name is in both packages; only what waits is another class."""
    assert sync.__all__ == asynchronous.__all__
    different = {
        name for name in sync.__all__ if getattr(sync, name) is not getattr(asynchronous, name)
    }
    assert different == {
        "ItemStream",
        "ModelStream",
        "PageStream",
        "QueryClient",
        "ResumePolicy",
        "Session",
    }
    renamed = {"aclose": "close"}
    for name in different:
        public = {
            renamed.get(member, member)
            for member in dir(getattr(asynchronous, name))
            if not member.startswith("_")
        }
        assert public <= set(dir(getattr(sync, name))), name


def test_nothing_in_the_synchronous_client_waits() -> None:
    """No public method is a coroutine function, and each has a docstring."""
    for kind in (sync.QueryClient, sync.PageStream, sync.ItemStream):
        for name, member in inspect.getmembers(kind, inspect.isfunction):
            assert not inspect.iscoroutinefunction(member), name
            assert name.startswith("_") or member.__doc__, name


def test_errors_are_the_same_classes() -> None:
    """A program that catches `QueryError` catches those of both clients."""
    assert sync.QueryError is QueryError
