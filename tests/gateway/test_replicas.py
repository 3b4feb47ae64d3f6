"""Equal reads reach one replica, and calls without an affinity key reach all of them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import grpc
import pytest

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_client import Query, QueryClient
from tests.gateway.gateways import gateway_before
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.fake_service import FakeService, numbered
from tests.support.gateway import Gateway
from tests.support.lengths import PATIENCE
from tests.support.ready_fake import ready
from tests.support.running import Service, eventually, make_key, open_service
from tests.support.scraping import scraped_sum

_KEYS: Final = 100
_READS: Final = 3  # Of each key.
_PAGES: Final = 60  # Hot pages of the real replicas, each of a partition of its own.
_TABLE: Final = "gateway-replicas"


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


class Replicas:
    """Servers over one table behind a gateway; where reads went is read from their metrics."""

    def __init__(self, servers: Sequence[Service]) -> None:
        self._metrics = [f"127.0.0.1:{server.app.metrics_port}" for server in servers]

    async def calls(self) -> list[float]:
        """Return the number of queries that each server has answered."""
        labels = 'code="OK",method="/dynamodb_processor.v1.QueryService/Query"'
        return await self._sums("calls_total", labels)

    async def reads(self, cache: str) -> list[float]:
        """Return the number of reads of each server that had a cache status."""
        return await self._sums("reads_total", f'cache="{cache}",table="pages"')

    async def _sums(self, name: str, labels: str) -> list[float]:
        return [
            await asyncio.to_thread(scraped_sum, address, name, labels) for address in self._metrics
        ]

    async def calls_after(self, total: float) -> list[float]:
        """Return the number of queries of each server once they are `total` together."""

        async def all_counted() -> list[float]:
            counted = await self.calls()
            return counted if sum(counted) == total else []

        counted: list[float] = await eventually(all_counted)
        return counted


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


async def test_real_servers(
    tmp_path: Path, dynamodb_local: str, report: Callable[[str, str, str], None]
) -> None:
    """Equal queries reach one of two servers, and its cache; only keys of one that leaves move."""
    _write_pages(dynamodb_local)
    key = make_key("reader")
    async with AsyncExitStack() as stack, AsyncExitStack() as leaving:
        servers = [
            await life.enter_async_context(
                open_service(
                    _folder(tmp_path, name),
                    dynamodb_local,
                    {"tables": {"pages": {"table": _TABLE}}},
                    [key],
                    metrics_listen="127.0.0.1:0",
                )
            )
            for life, name in ((stack, "staying"), (leaving, "leaving"))
        ]
        gateway = await stack.enter_async_context(
            gateway_before(_folder(tmp_path, "gateway"), *(server.app for server in servers))
        )
        replicas = Replicas(servers)
        plain = await stack.enter_async_context(QueryClient(gateway.address, api_key=key.text))
        await eventually(lambda: _both_answer(plain, replicas))
        client = await stack.enter_async_context(
            QueryClient(gateway.address, api_key=key.text, affinity=True)
        )
        reached = [await _read_equally(client, replicas, page) for page in range(_PAGES)]
        equal = sum(map(max, reached)) / sum(map(sum, reached))
        owned = sum(counts[1] > counts[0] for counts in reached)
        staying = Replicas(servers[:1])
        (hits,), (misses,) = await staying.reads("HIT"), await staying.reads("MISS")
        await leaving.aclose()
        for page in range(_PAGES):
            await client.query(_page(page))
        (later_hits,), (newly,) = await staying.reads("HIT"), await staying.reads("MISS")
        newly -= misses
        report(
            "affinity over two real servers",
            "99 % of equal reads reach one server; when one leaves, its keys move alone",
            f"{equal:.1%} of {_PAGES * _READS} reads of {_PAGES} pages reach one; {newly:.0f} pages"
            f" moved, {owned} were with the server that left: {newly - owned:.0f} beside its own",
        )
    assert equal >= 0.99
    assert _PAGES / 4 < owned < _PAGES * 3 / 4
    assert owned <= newly <= owned + _PAGES * 0.05
    assert later_hits - hits == _PAGES - newly


def _write_pages(endpoint_url: str) -> None:
    """Create the table of the real servers: one partition for each page."""
    table = open_client(endpoint_url)
    create_table(table, Schema(_TABLE, "owner", None, (), {"owner": "S"}))
    put_items(table, _TABLE, ({"owner": {"S": f"u-{page}"}} for page in range(_PAGES)))
    table.close()


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


def _page(page: int) -> Query:
    return Query("pages", "owner = :owner", owner=f"u-{page}")


async def _both_answer(client: QueryClient, replicas: Replicas) -> bool:
    """Return whether calls without a key reach both servers, so that both are in the ring."""
    before = await replicas.calls()
    for _ in range(8):
        await client.query(_page(_PAGES))  # A page that no read with a key asks for.
    after = await replicas.calls_after(sum(before) + 8)
    return all(new > old for old, new in zip(before, after, strict=True))


async def _read_equally(client: QueryClient, replicas: Replicas, page: int) -> list[float]:
    """Read a page several times; return the number of these reads that each server answered."""
    before = await replicas.calls()
    for _ in range(_READS):
        await client.query(_page(page))
    after = await replicas.calls_after(sum(before) + _READS)
    return [new - old for old, new in zip(before, after, strict=True)]


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
