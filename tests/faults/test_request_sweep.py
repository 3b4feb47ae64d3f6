"""Requests of up to 1 MiB, of every method and field: the server's cost of one of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc

from dynamodb_processor.v1.query_service_pb2 import ExplainQueryRequest
from tests.faults.cores import a_core_of_its_own
from tests.faults.heavy_queries import HEAVY_QUERIES
from tests.support.access import ApiKey, keys_file
from tests.support.event_service import ENVIRONMENT
from tests.support.lengths import FULL
from tests.support.memory import resident_mebibytes
from tests.support.processes import ServerProcess, serving
from tests.support.request_shapes import METHODS, SIZES, Method, kept_shapes
from tests.support.running import make_key, open_service
from tests.support.work import counted_work

_Report = Callable[[str, str, str], None]
_KEY: Final = ApiKey("tester", roles=("reader", "admin"))
_MEGABYTE: Final = 1_000_000
# Without a key, and with one: seconds of processor on the loop, and bytes that are kept.
_UNKNOWN_CALLER: Final = (0.02, 2 * _MEGABYTE)
_KNOWN_CALLER: Final = (0.1, 20 * _MEGABYTE)
_TIMES: Final = 3  # Each, of which the quickest counts: other processes share the core.
# Calls of functions, the test's own included; a valid request takes some 2,000.
_MOST_WORK_UNKNOWN: Final = 5_000
_MOST_WORK_KNOWN: Final = 200_000


async def _call(channel: Any, method: Method, data: bytes, key: str | None) -> str:
    """Make a call, read its messages, and return its status."""
    call: Any
    metadata = [("x-api-key", key)] if key else None
    try:
        if method.client_streaming:
            call = channel.stream_stream(method.path)(_once(data), metadata=metadata, timeout=60)
            await call.read()
        elif method.server_streaming:
            call = channel.unary_stream(method.path)(data, metadata=metadata, timeout=60)
            await call.read()
            call.cancel()  # The Watch of the health service goes on.
        else:
            await channel.unary_unary(method.path)(data, metadata=metadata, timeout=60)
    except grpc.aio.AioRpcError as error:
        return error.code().name
    except asyncio.CancelledError:
        return "CANCELLED"
    return "OK"


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _requests(every: int = 1) -> list[tuple[str, Method, bytes]]:
    """Return the kept shapes and the queries that take longest to plan, each with its label."""
    explain = METHODS["ExplainQuery"]
    heavy = [
        (name, explain, ExplainQueryRequest(query=make(0)).SerializeToString())
        for name, make in HEAVY_QUERIES.items()
    ]
    shapes = [(s.label, METHODS[s.method], s.request()) for s in kept_shapes()[::every]]
    return heavy + shapes


def test_the_kept_shapes_reach_every_method_with_as_much_as_fits() -> None:
    """There are 200 or more, most of them of nearly 1 MiB."""
    shapes = kept_shapes()
    assert len(set(shapes)) >= 200
    assert {shape.method for shape in shapes} == METHODS.keys()
    assert sum(shape.size == SIZES[-1] for shape in shapes) >= 200


@dataclass(frozen=True, slots=True)
class _Cost:
    """The cost of one request: seconds on the loop and in all threads, and bytes kept."""

    loop: float
    process: float
    kept: float
    label: str
    status: str


async def test_no_shape_of_request_takes_long(
    tmp_path: Path, dynamodb_local: str, table: str, report: _Report
) -> None:
    """Any request without a key costs little, and one with a key a bounded time."""
    if FULL:
        await _measure_all(tmp_path, dynamodb_local, table, report)
    else:
        await _count_some(tmp_path, dynamodb_local, table, report)


async def _count_some(tmp_path: Path, dynamodb_local: str, table: str, report: _Report) -> None:
    """Try a sixth of the shapes, in counted steps, which are the same however busy a machine is."""
    catalog = {"tables": {"events": {"table": table}}}
    keys = [make_key("tester", roles=["reader", "admin"])]
    worst: dict[bool, tuple[int, str]] = {False: (0, ""), True: (0, "")}
    async with open_service(tmp_path, dynamodb_local, catalog, keys) as service:
        for label, method, data in _requests(every=6):
            for known in (False, True):
                key = keys[0].text if known else None
                with counted_work() as work:
                    await _call(service.channel, method, data, key)
                worst[known] = max(worst[known], (work.calls, label))
    report(
        "requests of up to 1 MiB, counted",
        f"at most {_MOST_WORK_UNKNOWN:,} steps without a key, {_MOST_WORK_KNOWN:,} with one",
        "; ".join(f"{steps:,} steps ({label})" for steps, label in worst.values()),
    )
    assert worst[False][0] <= _MOST_WORK_UNKNOWN
    assert worst[True][0] <= _MOST_WORK_KNOWN


async def _measure_all(tmp_path: Path, dynamodb_local: str, table: str, report: _Report) -> None:
    """Try every shape on a server of its own: seconds of processor, and memory that stays."""
    requests = _requests()
    async with serving(
        {"tables": {"events": {"table": table}}},
        keys_file(_KEY),
        tmp_path,
        endpoint_url=dynamodb_local,
        env=ENVIRONMENT,
        ready_timeout=60,
    ) as server:
        with a_core_of_its_own(server):
            costs = {
                known: [cost async for cost in _measured(server, requests, known=known)]
                for known in (False, True)
            }
    for known, (seconds, kept) in ((False, _UNKNOWN_CALLER), (True, _KNOWN_CALLER)):
        slowest = max(costs[known], key=lambda cost: cost.process if known else cost.loop)
        largest = max(costs[known], key=lambda cost: cost.kept)
        on_average = sum(cost.kept for cost in costs[known]) / len(costs[known])
        report(
            f"{len(requests)} requests of up to 1 MiB, {'with' if known else 'without'} a key",
            f"at most {seconds * 1000:.0f} ms of processor and {kept / _MEGABYTE:.0f} MB kept each",
            f"slowest {slowest.loop * 1000:.1f} ms on the loop, {slowest.process * 1000:.1f} ms in "
            f"all ({slowest.label}: {slowest.status}); most kept "
            f"{largest.kept / _MEGABYTE:.2f} MB ({largest.label}), "
            f"{on_average / _MEGABYTE:.3f} MB on average",
        )
    assert all(cost.loop <= _UNKNOWN_CALLER[0] for cost in costs[False])
    assert all(cost.kept <= _UNKNOWN_CALLER[1] for cost in costs[False])
    assert all(cost.loop <= _KNOWN_CALLER[0] for cost in costs[True])
    assert all(cost.kept <= _KNOWN_CALLER[1] for cost in costs[True])


async def _measured(
    server: ServerProcess, requests: Sequence[tuple[str, Method, bytes]], *, known: bool
) -> AsyncIterator[_Cost]:
    key = _KEY.text if known else None
    most_kept = (_KNOWN_CALLER if known else _UNKNOWN_CALLER)[1]
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(server.address, options) as channel:
        for _, method, data in requests[:20]:  # It fills everything that is filled once.
            await _call(channel, method, data, key)
        for label, method, data in requests:
            cost = await _cost(server, partial(_call, channel, method, data, key), label)
            if cost.kept > most_kept:
                # The allocator takes memory in steps of megabytes. Kept memory grows again.
                cost = await _cost(server, partial(_call, channel, method, data, key), label)
            yield cost


async def _cost(server: ServerProcess, call: Callable[[], Awaitable[str]], label: str) -> _Cost:
    """Return the cost of the quickest of some equal calls, and the memory that each keeps."""
    before = _memory(server)
    taken: list[tuple[float, float]] = []
    status = ""
    for _ in range(_TIMES):
        began = _seconds(server)
        status = await call()
        ended = await _at_rest(server)
        taken.append((ended[0] - began[0], ended[1] - began[1]))
    loop, process = min(taken)
    return _Cost(loop, process, (_memory(server) - before) / _TIMES, label, status)


async def _at_rest(server: ServerProcess) -> tuple[float, float]:
    """Return the seconds used by the time that the server is idle."""
    before = _seconds(server)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        await asyncio.sleep(0.01)
        now = _seconds(server)
        if now[0] - before[0] < 0.001:
            break
        before = now
    return before


def _seconds(server: ServerProcess) -> tuple[float, float]:
    """Return the seconds of processor that the loop's thread and all threads have used."""
    process = server.process.pid
    by_thread = {
        int(task.name): int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{process}/task").iterdir()
    }
    return by_thread[process], sum(by_thread.values())


def _memory(server: ServerProcess) -> float:
    return resident_mebibytes(server.process.pid) * 2**20
