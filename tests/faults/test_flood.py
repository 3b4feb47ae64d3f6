"""A flood from one address without a key: its resources are bounded, and the server goes on."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from dynamodb_processor.v1.cache_service_pb2 import GetCacheStatsRequest
from dynamodb_processor.v1.cache_service_pb2_grpc import CacheServiceStub
from tests.faults.flooding import Flood, flood
from tests.faults.pacing import ended
from tests.support.access import ApiKey, keys_file
from tests.support.lengths import FULL, at_length
from tests.support.memory import resident_mebibytes
from tests.support.processes import ServerProcess, serving
from tests.support.running import eventually
from tests.support.slow_client import slow_client

_STAYING: Final = ApiKey("staying", roles=("admin",))
_LEAVING: Final = ApiKey("leaving", roles=("admin",))
_DELAY, _GRACE, _RELOAD = 1.0, 2.0, 1.0  # Seconds.
_ARGUMENTS: Final = (
    f"--drain-delay={_DELAY}",
    f"--drain-grace={_GRACE}",
    f"--reload-interval={_RELOAD}",
)
_FLOOD: Final = Flood(
    half_sent=at_length(4, 16), silent=at_length(6, 30), idle=at_length(100, 1_200)
)
_MOST_GROWTH: Final = 150  # MB.


@asynccontextmanager
async def _server(directory: Path) -> AsyncIterator[ServerProcess]:
    async with serving(
        {"discover": ["*"]},
        keys_file(_STAYING, _LEAVING),
        directory,
        endpoint_url="http://127.0.0.1:1",  # Not requested by the flood.
        args=_ARGUMENTS,
    ) as server:
        yield server


def _descriptors(server: ServerProcess) -> list[int]:
    return [int(each.name) for each in Path(f"/proc/{server.process.pid}/fd").iterdir()]


async def _probe(address: str) -> float:
    """Return how long the server takes to report liveness on a new connection."""
    began = time.monotonic()
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        # A connection may be refused while the flood has all of them, until they are closed.
        await health.Check(
            health_pb2.HealthCheckRequest(service="liveness"), timeout=30, wait_for_ready=True
        )
    return time.monotonic() - began


async def _probe_on(address: str, probes: list[float]) -> None:
    while True:
        probes.append(await _probe(address))
        await asyncio.sleep(0.2)


async def _key_is_refused(server: ServerProcess, channel: grpc.aio.Channel) -> float:
    """Remove a key from the file; return the seconds for which it is still accepted."""
    stub = CacheServiceStub(channel)

    async def refused() -> bool:
        try:
            await stub.GetCacheStats(
                GetCacheStatsRequest(), metadata=[("x-api-key", _LEAVING.text)], timeout=30
            )
        except grpc.aio.AioRpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
        return False

    assert not await refused()
    began = time.monotonic()
    await asyncio.to_thread(_write_keys, server)
    await eventually(refused)
    seconds = time.monotonic() - began
    await stub.GetCacheStats(
        GetCacheStatsRequest(), metadata=[("x-api-key", _STAYING.text)], timeout=30
    )
    return seconds


def _write_keys(server: ServerProcess) -> None:
    keys = Path(server.process.args[server.process.args.index("--keys") + 1])  # type: ignore[index, union-attr, arg-type]
    draft = keys.with_suffix(".draft")
    draft.write_text(yaml.safe_dump(keys_file(_STAYING)))
    draft.replace(keys)


async def test_a_flood_without_a_key(
    tmp_path: Path, report: Callable[[str, str, str], None]
) -> None:
    """Memory, probes, reloads and the end of the server stay within their bounds."""
    async with (
        _server(tmp_path) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        await _probe(server.address)
        before, probes = resident_mebibytes(server.process.pid), list[float]()
        probing = asyncio.create_task(_probe_on(server.address, probes))
        async with flood(server.address, _FLOOD) as flooding:
            reloaded = await _key_is_refused(server, channel)
            await asyncio.sleep(at_length(0, 3))
            await ended(probing)
            growth = resident_mebibytes(server.process.pid) - before
            calls = await asyncio.to_thread(server.metric, "unauthenticated_calls")
            requests = await asyncio.to_thread(server.metric, "pending_requests")
            began = time.monotonic()
            server.signal()
            code = await asyncio.to_thread(server.wait, timeout=60)
            seconds = time.monotonic() - began

    report(
        "flood from one address without a key",
        f"RSS ≤ +{_MOST_GROWTH} MB, liveness < 1 s, keys reloaded within {_RELOAD + 1} s, SIGTERM "
        f"within {_DELAY + _GRACE + 2} s",
        f"RSS +{growth:.0f} MB with {flooding}; {len(probes)} probes, latest {max(probes):.3f} s; "
        f"key refused after {reloaded:.2f} s; ended after {seconds:.1f} s",
    )
    assert growth <= _MOST_GROWTH
    assert calls <= 2_000
    assert requests <= 64 + 32
    assert code == 0
    if FULL:
        assert max(probes) < 1
        assert reloaded <= _RELOAD + 1
        assert seconds <= _DELAY + _GRACE + 2


async def test_a_removed_key_is_refused_without_free_descriptors(tmp_path: Path) -> None:
    """The keys file is read though connections have used up all descriptors of the server."""
    async with (
        _server(tmp_path) as server,
        grpc.aio.insecure_channel(server.address) as channel,
        AsyncExitStack() as stack,
    ):
        await channel.channel_ready()
        limit = max(_descriptors(server)) + 20
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, limit))
        for _ in range(60):
            with suppress(OSError):
                await stack.enter_async_context(slow_client(server.address))
        await eventually(lambda: len(_descriptors(server)) >= limit - 1)
        await _key_is_refused(server, channel)
