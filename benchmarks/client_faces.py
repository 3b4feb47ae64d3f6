"""CPU per page of the synchronous Python client beside the asynchronous one.

Each measurement is a process of its own, in turn, round after round, so that other load on the
machine affects all of them. The figure is the CPU of all its threads, user and system, without that
of the server. Prints the medians and their ratios. The exit code is 1 where one is above 1.3.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import grpc
import workload
from figures import Figure, Ratio

from dynamodb_processor.v1.query_pb2 import PAGE_END_PAGE_FULL
from dynamodb_processor.v1.query_service_pb2 import QueryResponse, StreamQueryResponse
from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_client import Query, QueryClient, sync
from dynamodb_processor_client.values import encode

_BOUND: Final = 1.3
_ROUNDS: Final = 7
_ITEMS: Final = 100  # a page, with ten attributes each
_PAGES: Final = 400  # a measurement, and a quarter of them before it
_QUERY: Final = Query(workload.TABLE)
_SERVICE: Final = "dynamodb_processor.v1.QueryService"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print, or serve; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "TARGET"), help=argparse.SUPPRESS)
    args = parser.parse_args(arguments)
    if args.serve:
        asyncio.run(_serve())
        return 0
    if args.measure:
        kind, target = args.measure
        print(_MEASURES[kind](target))
        return 0
    return _compare(args.rounds)


def _compare(rounds: int) -> int:
    command = [sys.executable, str(Path(__file__).resolve())]
    values: dict[str, list[float]] = defaultdict(list)
    with subprocess.Popen([*command, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            target = f"127.0.0.1:{int(server.stdout.readline())}"
            for _ in range(rounds):
                for kind in _MEASURES:
                    measure = [*command, "--measure", kind, target]
                    done = subprocess.run(measure, stdout=subprocess.PIPE, text=True, check=True)
                    values[kind].append(float(done.stdout))
        finally:
            server.terminate()
    figures = {kind: Figure(found) for kind, found in values.items()}
    ratios = {
        what: Ratio(figures[f"{what}, synchronous"], figures[f"{what}, asynchronous"])
        for what in ("page of a query", "page of a stream")
    }
    for kind, figure in figures.items():
        low, high = figure.spread
        print(f"{kind:32} {figure.median:7.0f} µs of CPU (quartiles {low:.0f} to {high:.0f})")
    for what, ratio in ratios.items():
        print(f"{what}: synchronous / asynchronous {ratio.value:.2f}, at most {_BOUND}")
    return 0 if all(ratio.value <= _BOUND for ratio in ratios.values()) else 1


def _asynchronous_query(target: str) -> float:
    async def run() -> float:
        async with QueryClient(target, timeout=None) as client:
            for _ in range(_PAGES // 4):
                await client.query(_QUERY)
            began = time.process_time()
            for _ in range(_PAGES):
                await client.query(_QUERY)
            return _per_page(began)

    return asyncio.run(run())


def _synchronous_query(target: str) -> float:
    with sync.QueryClient(target, timeout=None) as client:
        for _ in range(_PAGES // 4):
            client.query(_QUERY)
        began = time.process_time()
        for _ in range(_PAGES):
            client.query(_QUERY)
        return _per_page(began)


def _asynchronous_stream(target: str) -> float:
    async def run() -> float:
        async with QueryClient(target, timeout=None) as client:
            pages = client.pages(_QUERY)
            for _ in range(_PAGES // 4):
                await anext(pages)
            began = time.process_time()
            for _ in range(_PAGES):
                await anext(pages)
            return _per_page(began)

    return asyncio.run(run())


def _synchronous_stream(target: str) -> float:
    with sync.QueryClient(target, timeout=None) as client:
        pages = client.pages(_QUERY)
        for _ in range(_PAGES // 4):
            next(pages)
        began = time.process_time()
        for _ in range(_PAGES):
            next(pages)
        return _per_page(began)


def _per_page(began: float) -> float:
    return (time.process_time() - began) / _PAGES * 1e6


_MEASURES: Final[dict[str, Callable[[str], float]]] = {
    "page of a query, asynchronous": _asynchronous_query,
    "page of a query, synchronous": _synchronous_query,
    "page of a stream, asynchronous": _asynchronous_stream,
    "page of a stream, synchronous": _synchronous_stream,
}


async def _serve() -> None:
    """Serve one page again and again, print the port, and go on until killed."""
    items = [
        Item(attributes={name: encode(value) for name, value in item.items()})
        for item in workload.items(_ITEMS)
    ]
    page = QueryResponse(items=items, end=PAGE_END_PAGE_FULL)
    page.stats.items_returned = page.stats.items_scanned = _ITEMS
    answer = page.SerializeToString()
    message = StreamQueryResponse(items=items, end=PAGE_END_PAGE_FULL, stats=page.stats)
    messages = []
    for number in range(_PAGES * 2):
        message.resume_token = f"t{number}"
        messages.append(message.SerializeToString())

    async def query(request: bytes, context: Any) -> bytes:
        return answer

    async def stream(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for one in messages:
            yield one

    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Query": grpc.unary_unary_rpc_method_handler(query),
        "StreamQuery": grpc.unary_stream_rpc_method_handler(stream),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    sys.exit(main())
