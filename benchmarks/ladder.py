"""The cost of a cache hit by addition: a bare gRPC handler, and one thing more on each rung.

The first rungs call gRPC as the service does. The next ones are the service's own hooks around a
handler that answers at once, in their order. The last rung is the whole service with a full cache.

All rungs are servers of one process, each on a port of its own, pinned to one core. The load comes
from another core. The rungs run in turn, round after round, so that other load on the machine
affects all of them. The figure of a rung is the median of its CPU time per call: user and system,
of all threads.

Prints the ladder and the ratio of the first rung to the last one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final, cast

import grpc
import uvloop
import workload
from frames import Call as Load
from frames import make_calls
from servers import REGION, peer, write_files

from dynamodb_processor_server.limits.call_rate import CallRateLimits, RateClass
from dynamodb_processor_server.rpc.interceptors.chain import InterceptedHandlers
from dynamodb_processor_server.rpc.method_handlers import method_handler
from dynamodb_processor_server.rpc.server import QUERY_SERVICE
from dynamodb_processor_server.settings import Settings
from dynamodb_processor_server.telemetry.logs import configure_logs, get_access_log
from dynamodb_processor_server.telemetry.metrics import CallMetrics
from dynamodb_processor_server.wiring.hooks import ordered_hooks
from dynamodb_processor_server.wiring.metrics import new_registry
from dynamodb_processor_server.wiring.service import Service, build_service
from dynamodb_processor_server.wiring.tracing import Instrumentation

_ROUNDS: Final = 9
_SECONDS: Final = 1.0
_CONNECTIONS: Final = 5
_IN_FLIGHT: Final = 6  # fewer in all than the calls without a key that the service receives at once
_METHOD: Final = f"/{QUERY_SERVICE.full_name}/Query"
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_RATE_CLASSES: Final = {"default": RateClass(1_000_000, planning_seconds_per_second=None)}
_TRAILERS: Final = (("x-request-id", "0123456789abcdef0123456789abcdef"),)
_REST: Final = bytes(150)  # about as long as the fields of a response behind its items

_Context = grpc.aio.ServicerContext[Any, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--serve", nargs=3, metavar=("DIRECTORY", "ENDPOINT", "KEY"),
        help="serve every rung, and measure nothing: so the benchmark starts its servers",
    )  # fmt: skip
    args = parser.parse_args(arguments)
    if args.serve:
        directory, endpoint_url, key = args.serve
        configure_logs("json", "INFO")
        uvloop.run(serve(Path(directory), endpoint_url, key))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise SystemExit("two cores are needed: one for the servers, one for the load")
    os.sched_setaffinity(0, {cores[1]})
    print_ladder(measure(cores[0], cores[1]))
    return 0


def measure(server_core: int, load_core: int) -> dict[str, list[float]]:
    """Return the microseconds of CPU per call of each rung, one figure for each round."""
    with (
        tempfile.TemporaryDirectory(prefix="dynamodb-processor-ladder-") as name,
        peer("stub.py", core=load_core) as stub,
    ):
        directory = Path(name)
        _, _, key = write_files(directory)
        endpoint_url = f"http://{stub.target}"
        with _servers(directory, endpoint_url, key, server_core) as (process, targets):
            return _measure(process.pid, targets, key)


@contextmanager
def _servers(
    directory: Path, endpoint_url: str, key: str, core: int
) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, str]]]:
    """Run the servers on one core; give their process, and their addresses by rung."""
    command = [sys.executable, __file__, "--serve", str(directory), endpoint_url, key]
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench"},
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),  # noqa: PLW1509 - no thread yet
        ) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit((directory / "log").read_text())
            yield process, json.loads(line)
        finally:
            process.terminate()


def _measure(pid: int, targets: Mapping[str, str], key: str) -> dict[str, list[float]]:
    """Return the microseconds of CPU per call of each rung, one figure for each round."""
    messages = [request.SerializeToString(deterministic=True) for request in workload.first_pages()]
    metadata = (("user-agent", "benchmark"), ("x-api-key", key))
    load = Load(_METHOD, metadata, [messages[rank] for rank in workload.schedule()])
    figures: dict[str, list[float]] = {name: [] for name in targets}
    for number in range(_ROUNDS + 1):
        for name, target in targets.items():
            before = _cpu_seconds(pid)
            made = make_calls(
                target, load, connections=_CONNECTIONS, in_flight=_IN_FLIGHT, seconds=_SECONDS
            )
            used = _cpu_seconds(pid) - before
            if number:  # the first round warms up
                figures[name].append(used / len(made.latencies) * 1e6)
    return figures


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def print_ladder(figures: Mapping[str, list[float]]) -> None:
    """Print the medians, and the cost that each rung adds."""
    medians = {name: median(values) for name, values in figures.items()}
    first = before = next(iter(medians.values()))
    print(f"{'':40}{'us/call':>9}{'added':>8}{'share':>8}{'first/this':>12}")
    for name, value in medians.items():
        added = value - before
        print(f"{name:40}{value:9.1f}{added:8.1f}{added / first:8.1%}{first / value:12.3f}")
        before = value


async def serve(directory: Path, endpoint_url: str, key: str) -> None:
    """Serve every rung on a free port of the loopback interface, print the addresses, go on."""
    settings = Settings(
        catalog=directory / "catalog.yaml",
        keys=directory / "keys.yaml",
        listen="127.0.0.1:0",
        metrics_listen=None,
        region=REGION,
        endpoint_url=endpoint_url,
        rate_classes=_RATE_CLASSES,
    )
    async with AsyncExitStack() as stack:
        service = await build_service(settings, stack)
        whole, *_ = await service.server.start(service.endpoints)
        await service.catalog.refresh()
        pages = await _fill(whole, key)
        targets = {}
        servers = []
        for name, handlers in _rungs(settings, service, pages).items():
            server = grpc.aio.server()
            server.add_generic_rpc_handlers((handlers,))
            targets[name] = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            servers.append(server)
        targets["the whole service, a hit"] = whole
        gc.collect()
        gc.freeze()
        print(json.dumps(targets), flush=True)
        await asyncio.Event().wait()


async def _fill(target: str, key: str) -> dict[bytes, bytes]:
    """Put every page in the cache; return the responses by request."""
    metadata = (("x-api-key", key),)
    pages = {}
    async with grpc.aio.insecure_channel(target) as channel:
        query: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        for request in workload.first_pages():
            data = request.SerializeToString(deterministic=True)
            await query(data, metadata=metadata)
            pages[data] = await query(data, metadata=metadata)  # as a hit, which every page gets
    return pages


def _rungs(
    settings: Settings, service: Service, pages: Mapping[bytes, bytes]
) -> dict[str, grpc.GenericRpcHandler]:
    """Return the handlers of the rungs below the whole service."""
    rungs = {name: _generic(handler) for name, handler in _bare_rungs(pages).items()}
    untraced = Instrumentation(CallMetrics(new_registry()), get_access_log())
    calls = CallRateLimits(settings.rate_classes)
    hooks = ordered_hooks(
        settings, untraced, service.identity, service.catalog, calls, service.bounds
    )
    hooks = tuple([hook for hook in hooks if hook.applies_to(_METHOD)])

    async def answer(request: bytes, context: _Context) -> bytes:
        return b"".join((pages[request], _REST))

    handlers = _generic(
        method_handler(
            answer, streams_requests=False, streams_responses=False, deserializer=lambda data: data
        )
    )
    for count in range(len(hooks) + 1):
        name = f"+ hook {type(hooks[count - 1]).__name__}" if count else "the hook chain, empty"
        rungs[name] = InterceptedHandlers((handlers,), hooks[:count])
    return rungs


def _bare_rungs(pages: Mapping[bytes, bytes]) -> dict[str, grpc.RpcMethodHandler[Any, Any]]:
    """Return handlers that call gRPC as the service does, one thing more by one."""
    page = sorted(pages.values(), key=len)[len(pages) // 2]

    async def bare(request: bytes, context: _Context) -> bytes:
        return page

    async def read(requests: Any, context: _Context) -> bytes:
        await context.read()
        return page

    async def own_page(requests: Any, context: _Context) -> bytes:
        return pages[await context.read()]

    async def join(requests: Any, context: _Context) -> bytes:
        return b"".join((pages[await context.read()], _REST))

    async def metadata(requests: Any, context: _Context) -> bytes:
        context.invocation_metadata()
        return await join(requests, context)

    async def deadline(requests: Any, context: _Context) -> bytes:
        context.time_remaining()
        return await metadata(requests, context)

    async def callback(requests: Any, context: _Context) -> bytes:
        context.add_done_callback(cast("Any", _ignore))  # the stubs do not accept plain functions
        return await deadline(requests, context)

    async def trailers(requests: Any, context: _Context) -> bytes:
        response = await callback(requests, context)
        context.set_trailing_metadata(_TRAILERS)
        return response

    return {
        "a bare handler, one page": method_handler(
            bare, streams_requests=False, streams_responses=False
        ),
        **{
            name: method_handler(behavior, streams_requests=True, streams_responses=False)
            for name, behavior in (
                ("+ request received by the handler", read),
                ("+ a page for each request", own_page),
                ("+ concatenation", join),
                ("+ metadata", metadata),
                ("+ deadline", deadline),
                ("+ callback at the end", callback),
                ("+ trailing metadata", trailers),
            )
        },
    }


def _ignore(context: _Context) -> None:
    """Do nothing at the end of a call."""


def _generic(handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.GenericRpcHandler:
    handlers = {"Query": handler}
    return grpc.method_handlers_generic_handler(QUERY_SERVICE.full_name, handlers)


if __name__ == "__main__":
    sys.exit(main())
