"""Load for a long time with many cancelled calls: none of its resources stays in use."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
from prometheus_client.parser import text_string_to_metric_families

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy
from dynamodb_processor.v1.query_service_pb2 import (
    CountItemsRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.faults.bare_server import BareMethod
from tests.faults.load import USERS
from tests.faults.pacing import call_at_pace, percentile
from tests.support.access import ApiKey, keys_file
from tests.support.event_service import ENVIRONMENT
from tests.support.lengths import FULL, PATIENCE, at_length
from tests.support.messages import spec
from tests.support.processes import ServerProcess, serving
from tests.support.running import eventually
from tests.support.scraping import scraped

_KEY: Final = ApiKey("tester")
_WARM_UP: Final = at_length(2, 60)  # Seconds.
_SECONDS: Final = at_length(7, 600)
_CALLERS: Final = 16
_CANCELLED: Final = 0.2
_GROWTH: Final = 1.0  # MiB, beyond the growth of a bare server.
_FLAT: Final = 3  # Of thousands of calls; one may be under way.
# Connections to DynamoDB that stay open for the next reads: in a short run they may not yet be as
# many as the callers' reads at once, of which a busy machine makes more.
_KEPT: Final = at_length(_CALLERS, 0)
_SOURCE: Final = Path(__file__).parent / "bare_server.py"
_PAGE_SIZE: Final = 2
_CALL_OPTIONS: Final[dict[str, Any]] = {"timeout": PATIENCE, "metadata": [("x-api-key", _KEY.text)]}
_BYPASS: Final = CachePolicy(mode=CacheMode.CACHE_MODE_BYPASS)


@dataclass(frozen=True, slots=True)
class _State:
    """The resources of a server at a moment without calls; `megabytes` are of resident memory."""

    tasks: float
    descriptors: float
    megabytes: float
    bare_megabytes: float


class _Kind(Enum):
    """A kind of calls: the bare server's method for each, and how many of eight they are."""

    HIT = "Hit", 5
    READ = "Read", 1
    COUNT = "Count", 1
    STREAM = "Stream", 1

    @property
    def method(self) -> str:
        """The bare server's method for it."""
        return self.value[0]


_MIX: Final = [kind for kind in _Kind for _ in range(kind.value[1])]


@dataclass
class _Calls:
    """Calls of a channel, a part of them cancelled before or while they are served."""

    begin: Callable[[_Kind, str], Any]
    mix: list[_Kind] = field(default_factory=_MIX.copy)
    cancelled: float = _CANCELLED
    random: Random = field(default_factory=lambda: Random(3))
    outcomes: Counter[str] = field(default_factory=Counter)

    async def make(self) -> None:
        """Make one."""
        call = self.begin(self.random.choice(self.mix), self.random.choice(USERS))
        if self.random.random() < self.cancelled:
            await asyncio.sleep(self.random.random() ** 2 * 0.01)
            call.cancel()
        elif isinstance(call, grpc.aio.UnaryStreamCall):
            async for _ in call:
                pass
        self.outcomes[(await call.code()).name] += 1


def _request(kind: _Kind, user: str) -> Any:
    query = spec("events", "user_id = :u", {"u": {"S": user}})
    match kind:
        case _Kind.HIT:
            return QueryRequest(query=query)
        case _Kind.READ:
            return QueryRequest(query=query, cache=_BYPASS)
        case _Kind.COUNT:
            return CountItemsRequest(query=query, cache=_BYPASS)
        case _Kind.STREAM:
            return StreamQueryRequest(query=query, page_size=_PAGE_SIZE)


def _of_service(channel: grpc.aio.Channel) -> Callable[[_Kind, str], Any]:
    """Return the starters of the service's calls."""
    queries = QueryServiceStub(channel)
    methods: dict[_Kind, Any] = {
        _Kind.HIT: queries.Query,
        _Kind.READ: queries.Query,
        _Kind.COUNT: queries.CountItems,
        _Kind.STREAM: queries.StreamQuery,
    }
    return lambda kind, user: methods[kind](_request(kind, user), **_CALL_OPTIONS)


def _of_bare_server(channel: grpc.aio.Channel) -> Callable[[_Kind, str], Any]:
    """Return the starters of the bare server's calls with the same requests."""
    methods: dict[_Kind, Any] = {
        kind: (channel.unary_stream if kind is _Kind.STREAM else channel.unary_unary)(
            f"/Bare/{kind.method}"
        )
        for kind in _Kind
    }
    return lambda kind, user: methods[kind](
        _request(kind, user).SerializeToString(), **_CALL_OPTIONS
    )


@dataclass(frozen=True, slots=True)
class _Cost:
    """Seconds that a call takes, and those of the server's processor."""

    seconds: float
    busy: float


async def _costs(
    begin: Callable[[_Kind, str], Any], spent: Callable[[], Awaitable[float]], rate: float
) -> dict[_Kind, _Cost]:
    """Return the costs of calls of each kind that are not cancelled."""
    costs = {}
    for kind in _Kind:
        calls = _Calls(begin, [kind], cancelled=0.0)
        before = await spent()
        outcomes = await call_at_pace(calls.make, _CALLERS, at_length(0.3, 4), rate)
        busy = (await spent() - before) / outcomes.calls
        costs[kind] = _Cost(percentile(outcomes.answered, 0.5), busy)
    return costs


async def _plain(channel: grpc.aio.Channel) -> dict[_Kind, BareMethod]:
    """Return methods that answer at once with as many bytes as the service's."""
    begin = _of_service(channel)
    methods = {}
    for kind in _Kind:
        call = begin(kind, USERS[0])
        stream = kind is _Kind.STREAM
        messages = [each async for each in call] if stream else [await call]
        count = len(messages) if stream else None
        methods[kind] = BareMethod(kind.method, 0.0, 0.0, messages[0].ByteSize(), count)
    return methods


async def _likenesses(
    server: ServerProcess, channel: grpc.aio.Channel, rate: float
) -> list[BareMethod]:
    """Return methods that take as long as the service's and answer with as many bytes.

    Memory that gRPC itself does not give back belongs to cancelled calls (grpc#43360). It depends
    on the size of their messages, and on the calls that gRPC's core knows and Python does not know
    yet.
    """

    async def spent() -> float:
        metrics = await asyncio.to_thread(_metrics, server)
        return metrics.get("process_cpu_seconds_total", 0.0)  # Known on Linux alone.

    costs = await _costs(_of_service(channel), spent, rate)
    plain = await _plain(channel)
    with _bare_server(list(plain.values())) as (_, address):
        async with grpc.aio.insecure_channel(address) as beside:
            ask: Any = beside.unary_unary("/Bare/Spent")

            async def spent_bare() -> float:
                return float(await ask(b""))

            floors = await _costs(_of_bare_server(beside), spent_bare, rate)
    methods = []
    for kind, method in plain.items():
        busy = max(0.0, costs[kind].busy - floors[kind].busy)
        seconds = max(0.0, costs[kind].seconds - floors[kind].seconds - busy)
        methods.append(replace(method, seconds=seconds, busy=busy))
    return methods


@contextmanager
def _bare_server(methods: list[BareMethod]) -> Iterator[tuple[int, str]]:
    """Run a bare server; yield its pid and address."""
    command = [sys.executable, str(_SOURCE), *(method.argument() for method in methods)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        with process.stdout:
            yield process.pid, f"127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.wait()


def _metrics(server: ServerProcess) -> dict[str, float]:
    families = text_string_to_metric_families(scraped(server.metrics_address))
    return {sample.name: sample.value for family in families for sample in family.samples}


def _megabytes(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    command = ["/bin/ps", "-o", "rss=", "-p", str(pid)]
    return int(subprocess.check_output(command, text=True)) / 1024


def _times(methods: list[BareMethod]) -> str:
    """Return in milliseconds the waits of calls and their processor time."""
    return ", ".join(
        f"{method.name} {method.seconds * 1000:.2f} + {method.busy * 1000:.2f} ms"
        for method in methods
    )


async def _state(server: ServerProcess, bare: int) -> _State:
    """Return the resources in use when no call is under way."""

    def idle() -> bool:
        return _metrics(server)["dynamodb_processor_active_reads"] == 0

    await eventually(lambda: asyncio.to_thread(idle))
    await asyncio.sleep(at_length(2.0, 0.5))  # gRPC's own tasks end when its threads reach them.
    metrics = await asyncio.to_thread(_metrics, server)
    return _State(
        metrics["dynamodb_processor_tasks"],
        metrics.get("process_open_fds", 0),
        _megabytes(server.process.pid),
        _megabytes(bare),
    )


async def test_calls_leave_no_resources(
    tmp_path: Path, dynamodb_local: str, table: str, report: Callable[[str, str, str], None]
) -> None:
    """No task, descriptor or memory stays, however the calls ended."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            serving(
                {"tables": {"events": {"table": table}}},
                keys_file(_KEY),
                tmp_path,
                endpoint_url=dynamodb_local,
                env=ENVIRONMENT,
            )
        )
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
        calls = _Calls(_of_service(channel))
        await call_at_pace(calls.make, _CALLERS, 1.0, None)
        rate = (await call_at_pace(calls.make, _CALLERS, at_length(1, 5), None)).goodput / 2
        most = _metrics(server).get("process_open_fds", 0)  # Known on Linux alone.
        methods = await _likenesses(server, channel, rate / 4)
        pid, address = stack.enter_context(_bare_server(methods))
        beside = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        bare = _Calls(_of_bare_server(beside))

        def both(seconds: float, rate: float) -> Awaitable[Any]:
            return asyncio.gather(
                call_at_pace(calls.make, _CALLERS, seconds, rate),
                call_at_pace(bare.make, _CALLERS, seconds, rate),
            )

        await both(_WARM_UP, rate)
        before = await _state(server, pid)
        calls.outcomes.clear()
        bare.outcomes.clear()
        await both(_SECONDS, rate)
        after = await _state(server, pid)

    grown = after.megabytes - before.megabytes
    floor = after.bare_megabytes - before.bare_megabytes
    report(
        f"soak of {_SECONDS} s at half load, 20 % cancelled",
        "tasks and descriptors flat; memory grows by ≤ 1 MiB more than that of a bare grpc.aio "
        "server with the same requests and answers, and calls as long",
        f"{sum(calls.outcomes.values()):,} calls at {rate:.0f}/s, {dict(calls.outcomes)}; "
        f"tasks {before.tasks:.0f} to {after.tasks:.0f}, "
        f"descriptors {before.descriptors:.0f} to {after.descriptors:.0f}, "
        f"memory {before.megabytes:.1f} to {after.megabytes:.1f} MiB ({grown:+.2f}), "
        f"bare, at {_times(methods)}, {dict(bare.outcomes)}: "
        f"{before.bare_megabytes:.1f} to {after.bare_megabytes:.1f} MiB ({floor:+.2f})",
    )
    assert calls.outcomes.keys() == {"OK", "CANCELLED"}
    assert after.tasks <= before.tasks + _FLAT
    assert after.descriptors <= max(before.descriptors, most) + _FLAT + _KEPT
    assert grown <= max(floor, 0) + _GROWTH or not FULL
