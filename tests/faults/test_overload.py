"""Overload of DynamoDB or a core: the server serves its capacity and refuses the rest at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
from frames import Call, make_calls

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.cores import a_core_of_its_own
from tests.faults.load import EVENTS, USERS
from tests.faults.pacing import call_at_pace, ended, percentile, probe
from tests.faults.stub import Stub, open_stub
from tests.support.access import ApiKey, keys_file
from tests.support.event_service import ENVIRONMENT
from tests.support.messages import spec
from tests.support.processes import ServerProcess, serving

pytestmark = pytest.mark.measures

_NOISY: Final = ApiKey("noisy")
_QUIET: Final = ApiKey("quiet")
_CAPACITY: Final = 8
_ARGUMENTS: Final = (f"--max-concurrent-reads={_CAPACITY}", "--admission-queue=16")
_SECONDS: Final = 60
_TIMES: Final = 3  # Calls per second of the capacity.
_CALLERS: Final = 90  # So many that most of them are not waiting for an answer.
_QUIET_PER_SECOND: Final = 10.0
_REFUSED_IN: Final = 0.02
_SEEN_IN: Final = 0.1  # Seconds, by callers that share a core with DynamoDB Local.
_PROBED_IN: Final = 1.0
_GOODPUT: Final = 0.8  # Of the peak.
_QUIET_ERRORS: Final = 0.01
_RECOVERY: Final = 5.0
_FLOOD: Final = 400  # Calls under way.


@asynccontextmanager
async def _server(
    directory: Path, endpoint: str, table: str
) -> AsyncIterator[tuple[ServerProcess, Stub]]:
    async with (
        open_stub(endpoint) as stub,
        serving(
            {"tables": {"events": {"table": table}}},
            keys_file(_NOISY, _QUIET),
            directory,
            endpoint_url=f"http://127.0.0.1:{stub.port}",
            args=_ARGUMENTS,
            env=ENVIRONMENT,
        ) as server,
    ):
        with a_core_of_its_own(server):
            yield server, stub


def _request(user: str, mode: CacheMode.ValueType) -> QueryRequest:
    query = spec("events", "user_id = :u", {"u": {"S": user}})
    return QueryRequest(query=query, cache=CachePolicy(mode=mode))


def _reads(channel: grpc.aio.Channel, key: ApiKey) -> Callable[[], Awaitable[None]]:
    """Return a function that makes one call that reads DynamoDB."""
    queries = QueryServiceStub(channel)
    numbers = count()

    async def read() -> None:
        user = USERS[next(numbers) % len(USERS)]
        request = _request(user, CacheMode.CACHE_MODE_BYPASS)
        page = await queries.Query(request, timeout=3, metadata=[("x-api-key", key.text)])
        assert len(page.items) == len(EVENTS)

    return read


def _channel(address: str) -> grpc.aio.Channel:
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.aio.insecure_channel(address, options=options)


async def _recovered(read: Callable[[], Awaitable[None]], peak: float) -> float:
    """Return the seconds until calls within the capacity are all served, as fast as before."""
    began = time.monotonic()
    while True:
        outcomes = await call_at_pace(read, _CAPACITY // 2, 0.5, peak / 2)
        if outcomes.error_rate == 0:
            return time.monotonic() - began - outcomes.seconds
        assert time.monotonic() - began < _RECOVERY + 1, "it does not recover"


async def test_more_reads_than_dynamodb_can_answer(
    tmp_path: Path, dynamodb_local: str, table: str, report: Callable[[str, str, str], None]
) -> None:
    """Capacity is mostly used; callers with few calls do not suffer from others."""
    async with (
        _server(tmp_path, dynamodb_local, table) as (server, stub),
        _channel(server.address) as loud,
        _channel(server.address) as soft,
    ):
        noisy, quiet = _reads(loud, _NOISY), _reads(soft, _QUIET)
        stub.width, stub.seconds = asyncio.Semaphore(4), 0.04
        await call_at_pace(noisy, _CAPACITY, 1.0, None)
        peak = (await call_at_pace(noisy, _CAPACITY, 10, None)).goodput
        probes: list[float] = []
        probing = asyncio.create_task(probe(server.address, probes))
        load, few = await asyncio.gather(
            call_at_pace(noisy, _CALLERS, _SECONDS, _TIMES * peak),
            call_at_pace(quiet, 2, _SECONDS, _QUIET_PER_SECOND),
        )
        recovery = await _recovered(noisy, peak)
        await ended(probing)

    goodput = load.goodput + few.goodput
    refused, seen = (percentile(each, 0.99) for each in (_refusals(server), load.refused))
    report(
        f"DynamoDB-bound overload, {_TIMES} times for {_SECONDS} s",
        "goodput ≥ 80 % of peak, refusals < 20 ms in the server (p99) and < 100 ms at callers, who "
        "share a core with DynamoDB Local, 0 failed otherwise, probes < 1 s, recovery < 5 s, a "
        "quiet principal's errors ≤ 1 %",
        f"goodput {goodput:.0f}/s of {peak:.0f}/s ({goodput / peak:.0%}), {load.calls} calls "
        f"({load.calls / load.seconds / peak:.1f} times), {len(load.refused)} refused in "
        f"{refused * 1000:.1f} ms (p99; {seen * 1000:.1f} ms at callers), "
        f"{len(load.failed)} failed otherwise; "
        f"{len(probes)} probes, latest {max(probes):.3f} s; recovered in {recovery:.1f} s; "
        f"quiet: {few.error_rate:.2%} of {few.calls} failed, p99 "
        f"{percentile(few.answered, 0.99):.3f} s",
    )
    assert goodput >= _GOODPUT * peak
    assert load.calls > 0.9 * _TIMES * peak * _SECONDS, "that was no overload"
    assert load.refused
    assert refused < _REFUSED_IN
    assert seen < _SEEN_IN
    assert not load.failed
    assert probes
    assert max(probes) < _PROBED_IN
    assert recovery < _RECOVERY
    assert few.error_rate <= _QUIET_ERRORS


def _refusals(server: ServerProcess) -> list[float]:
    """Return the seconds that refused calls took, according to the access log."""
    return [
        record["duration_ms"] / 1000
        for record in server.records
        if record.get("reason") == "OVERLOADED"
    ]


async def test_more_hits_than_a_core_can_answer(
    tmp_path: Path, dynamodb_local: str, table: str, report: Callable[[str, str, str], None]
) -> None:
    """Probes are answered in between, and the queue is empty as soon as the load ends."""
    seconds = 30
    context = get_context("spawn")
    async with _server(tmp_path, dynamodb_local, table) as (server, _):
        messages = [
            _request(user, CacheMode.CACHE_MODE_DEFAULT).SerializeToString() for user in USERS
        ]
        call = Call(
            "/dynamodb_processor.v1.QueryService/Query", (("x-api-key", _NOISY.text),), messages
        )
        loop = asyncio.get_running_loop()
        with ProcessPoolExecutor(1, context) as pool:

            def run(in_flight: int, length: float) -> Awaitable[Any]:
                work = partial(make_calls, connections=5, in_flight=in_flight, seconds=length)
                return loop.run_in_executor(pool, work, server.address, call)

            await run(1, 0.5)  # Fills the cache.
            normal = await run(10, 2.0)
            probes: list[float] = []
            probing = asyncio.create_task(probe(server.address, probes))
            flooded = await run(_FLOOD // 5, seconds)
            async with _channel(server.address) as channel:
                recovery = await _recovered(_reads(channel, _QUIET), peak=40)
            calm = await run(10, 1.0)
            await ended(probing)

    rate, peak = (len(each.latencies) / each.elapsed for each in (flooded, normal))
    late = [percentile(list(each.latencies), 0.99) for each in (normal, flooded, calm)]
    report(
        f"CPU-bound overload, {_FLOOD} calls under way for {seconds} s",
        "probes < 1 s, recovery < 5 s",
        f"{rate:.0f} hits/s on one core of {peak:.0f}/s; p99 {late[0]:.3f} s before, "
        f"{late[1]:.3f} s in it, {late[2]:.3f} s after; {len(probes)} probes, "
        f"latest {max(probes):.3f} s; recovered in {recovery:.1f} s",
    )
    assert probes
    assert max(probes) < _PROBED_IN
    assert recovery < _RECOVERY
    assert late[2] < max(5 * late[0], 0.25)
