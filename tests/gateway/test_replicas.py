"""Equal reads reach one replica, and calls without an affinity key reach all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_client import Query, QueryClient
from tests.gateway.gateways import gateway_before
from tests.support.fake_service import FakeService, numbered
from tests.support.gateway import Gateway
from tests.support.lengths import PATIENCE
from tests.support.ready_fake import ready
from tests.support.running import eventually

_KEYS: Final = 100
_READS: Final = 3  # Of each key.


class Reads:
    """Reads with affinity keys, and the replica that each has reached."""

    def __init__(self, gateway: Gateway, services: Sequence[FakeService]) -> None:
        self._gateway = gateway
        self._services = services

    async def make(self, keys: Sequence[str | None]) -> list[int]:
        """Read once with each key; return the replicas that the reads reached, in order."""
        reached = []
        async with grpc.aio.insecure_channel(self._gateway.address) as channel:
            stub = QueryServiceStub(channel)
            request = QueryRequest(query=QuerySpec(table="numbers"), page_size=1)
            for key in keys:
                before = [len(service.requests) for service in self._services]
                metadata = (("x-affinity-key", key),) if key else ()
                await stub.Query(request, metadata=metadata, timeout=PATIENCE)
                after = [len(service.requests) for service in self._services]
                (replica,) = [at for at, count in enumerate(before) if after[at] > count]
                reached.append(replica)
        return reached


@asynccontextmanager
async def _replicas(
    folder: Path, count: int
) -> AsyncIterator[tuple[list[FakeService], list[grpc.aio.Server], Gateway]]:
    services = [FakeService(items=numbered(3)) for _ in range(count)]
    async with ready(*services) as servers, gateway_before(folder, *services) as gateway:
        yield services, servers, gateway


def _keys() -> list[str]:
    return [f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}" for number in range(_KEYS)]


@pytest.mark.parametrize("count", [2, 3])
async def test_equal_reads_reach_one_replica(
    tmp_path: Path, report: Callable[[str, str, str], None], count: int
) -> None:
    """A key belongs to one replica, and stays there when another one leaves."""
    async with _replicas(tmp_path, count) as (services, servers, gateway):
        await eventually(lambda: _all_are_called(gateway, services))
        reads = Reads(gateway, services)
        rounds = [await reads.make(_keys()) for _ in range(_READS)]
        owners = [Counter(each).most_common(1)[0] for each in zip(*rounds, strict=True)]
        equal = sum(times for _, times in owners) / (_KEYS * _READS)
        kept = [owner for owner, _ in owners]
        shares = sorted(Counter(kept).values())
        await servers[0].stop(grace=None)
        left = [key for key, owner in zip(_keys(), kept, strict=True) if owner == 0]
        await eventually(lambda: _is_served(gateway, left[0]))
        later = await reads.make(_keys())
        changed = sum(before != after for before, after in zip(kept, later, strict=True))
        report(
            f"affinity over {count} replicas",
            "99 % of equal reads reach one replica; when one leaves, its keys move alone",
            f"{equal:.1%} reach one; keys by replica {shares}; "
            f"{changed} of {_KEYS} moved, {len(left)} were with the one that left",
        )
    assert equal >= 0.99
    assert len(left) <= changed <= len(left) + _KEYS * 0.05
    assert min(shares) > _KEYS / count / 2


async def _all_are_called(gateway: Gateway, services: Sequence[FakeService]) -> bool:
    """Return whether each replica is in the ring: the check of one may be later than another's."""
    await Reads(gateway, services).make([None] * 8)
    return all(service.requests for service in services)


async def _is_served(gateway: Gateway, key: str) -> bool:
    """Return whether calls with a key of a stopped replica reach another."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stub = QueryServiceStub(channel)
        metadata = (("x-affinity-key", key),)
        call = stub.Query(QueryRequest(), metadata=metadata, timeout=PATIENCE)
        return await call.code() is grpc.StatusCode.OK


async def test_keys_of_the_python_client(tmp_path: Path) -> None:
    """Equal queries of a client with `affinity` reach one replica, different ones both."""
    async with _replicas(tmp_path, 2) as (services, _, gateway):
        await eventually(lambda: _all_are_called(gateway, services))
        for service in services:
            service.requests.clear()
        async with QueryClient(gateway.address, affinity=True) as client:
            for number in 3 * list(range(30)):
                await client.query(Query("numbers", f"n = {number}"))
        reached = [Counter(each.query.expression for each in s.requests) for s in services]
    assert not reached[0].keys() & reached[1].keys()
    assert {times for each in reached for times in each.values()} == {3}
    assert min(map(len, reached)) > 5


async def test_calls_without_a_key_reach_every_replica(tmp_path: Path) -> None:
    """Each replica gets a part of the calls that is near an equal one."""
    async with _replicas(tmp_path, 2) as (services, _, gateway):
        await eventually(lambda: _all_are_called(gateway, services))
        reached = Counter(await Reads(gateway, services).make([None] * 300))
    assert min(reached.values()) > 100, reached
