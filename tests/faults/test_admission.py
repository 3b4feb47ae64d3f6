"""Admission limits reads of DynamoDB alone: other calls are served on a full server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1.catalog_service_pb2 import ListTablesRequest
from dynamodb_processor.v1.query_pb2 import CacheStatus
from dynamodb_processor.v1.query_service_pb2 import QueryRequest
from tests.faults.load import EVENTS, USERS
from tests.faults.stub import Stub, open_stub
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    make_key,
    open_service,
    query_spec,
    refusal_of,
)


@asynccontextmanager
async def _small(
    directory: Path, endpoint: str, table: str, queue: int = 0
) -> AsyncIterator[tuple[Service, Stub]]:
    """Run a server that admits one read, and has a queue."""
    async with (
        open_stub(endpoint) as stub,
        open_service(
            directory,
            f"http://127.0.0.1:{stub.port}",
            {"tables": {"events": {"table": table, "allow_scan": True}}},
            [make_key("tester", roles=["reader", "admin"])],
            max_concurrent_reads=1,
            admission_queue=queue,
        ) as service,
    ):
        yield service, stub


def _events_of(user: str) -> Any:
    return query_spec("events", "user_id = :user", parameters={"user": user})


async def test_a_full_server_refuses_reads_alone(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """Cached pages, probes, explanations, the catalog and invalidations need no admission."""
    async with _small(tmp_path, dynamodb_local, table) as (service, stub):
        await service.query(_events_of(USERS[0]))
        await service.query(_events_of(USERS[1]))
        stub.gate.clear()
        slow = asyncio.create_task(service.query(_events_of(USERS[2])))
        await eventually(lambda: stub.reads == 3)

        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(_events_of(USERS[3]))
        refusal = refusal_of(caught.value)
        assert (refusal.code.name, refusal.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
        assert refusal.trailing["grpc-retry-pushback-ms"]
        assert stub.reads == 3

        assert await service.check() == "SERVING"
        assert await service.check("liveness") == "SERVING"
        hit = await service.query(_events_of(USERS[0]))
        assert hit.cache.status == CacheStatus.CACHE_STATUS_HIT
        await service.explain(_events_of(USERS[3]))
        await service.catalog.ListTables(ListTablesRequest(), metadata=service.metadata())
        await service.invalidate("events", user_id=USERS[1])
        stub.gate.set()
        assert len((await slow).items) == len(EVENTS)


async def test_a_stream_is_admitted_only_while_it_reads(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """A caller that reads slowly blocks no other caller, and waits in the queue as well."""
    async with _small(tmp_path, dynamodb_local, table, queue=1) as (service, _):
        stream: Any = service.stream(query_spec("events"), page_size=1)
        for user in USERS[:4]:
            await stream.read()
            await eventually(partial(_served, service, user))
        stream.cancel()


async def test_streams_are_bounded_in_number(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """A caller with too many open streams is refused another until one ends in any way."""
    async with open_service(
        tmp_path,
        dynamodb_local,
        {"tables": {"events": {"table": table, "allow_scan": True}}},
        [make_key("greedy"), make_key("modest")],
        max_streams=4,
    ) as service:
        streams: list[Any] = [service.stream(query_spec("events"), page_size=1) for _ in range(2)]
        for stream in streams:
            await stream.read()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.messages(query_spec("events"), key="greedy")
        refusal = refusal_of(caught.value)
        assert (refusal.code.name, refusal.reason) == ("RESOURCE_EXHAUSTED", "OVERLOADED")
        assert refusal.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
        assert await service.messages(query_spec("events"), key="modest")
        streams[0].cancel()

        async def streamed() -> bool:
            with suppress(grpc.aio.AioRpcError):
                return bool(await service.messages(_events_of(USERS[0]), key="greedy"))
            return False

        await eventually(streamed)
        streams[1].cancel()


async def _served(service: Service, user: str) -> bool:
    request = QueryRequest(query=_events_of(user))
    call = service.queries.Query(request, metadata=service.metadata(), timeout=PATIENCE)
    code = await call.code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED)
    return code is grpc.StatusCode.OK
