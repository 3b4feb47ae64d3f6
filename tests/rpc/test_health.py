"""Tests of health: liveness, readiness, and their changes."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from tests.rpc.data import VIKTOR, event, events_catalog, events_schema
from tests.rpc.logged import Logged
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.lengths import PATIENCE
from tests.support.running import (
    Service,
    eventually,
    open_service,
    query_spec,
    refusal_of,
    write_catalog,
)

_FOLLOWING = (
    "",
    "readiness",
    "dynamodb_processor.v1.QueryService",
    "dynamodb_processor.v1.CatalogService",
    "dynamodb_processor.v1.CacheService",
)
_SPEC = query_spec("late", "user_id = :u", parameters={"u": VIKTOR})


@pytest.fixture
def late() -> str:
    """The name of a table that does not exist yet."""
    return f"rpc-late-{uuid.uuid4().hex[:8]}"


def create(endpoint_url: str, table: str) -> None:
    """Create a table of three events."""
    client = open_client(endpoint_url)
    create_table(client, events_schema(table))
    put_items(client, table, [event(VIKTOR, at) for at in range(3)])
    client.close()


def delete(endpoint_url: str, table: str) -> None:
    """Delete a table."""
    client = open_client(endpoint_url)
    client.delete_table(TableName=table)
    client.close()


def watch(service: Service, name: str) -> Any:
    """Return a call that yields the status of a name whenever it changes."""
    return service.health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)


async def status(call: Any) -> str:
    """Return the next status of a watch."""
    answer = await asyncio.wait_for(call.read(), PATIENCE)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_a_server_whose_tables_are_there_is_ready(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Every name is SERVING at once and needs no key; other names are unknown."""
    async with open_service(tmp_path, dynamodb_local, events_catalog(events)) as service:
        for name in (*_FOLLOWING, "liveness"):
            assert await service.check(name) == "SERVING"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.check("dynamodb_processor.v1.TableService")
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_missing_table_keeps_a_server_from_being_ready(
    tmp_path: Path, dynamodb_local: str, late: str, logged: Logged
) -> None:
    """It is live, logs the table's name, and becomes ready when the table appears."""
    catalog = {"tables": {"late": {"table": late}}}
    async with open_service(tmp_path, dynamodb_local, catalog, catalog_refresh=0.05) as service:
        assert await service.check("liveness") == "SERVING"
        assert [await service.check(name) for name in _FOLLOWING] == ["NOT_SERVING"] * 5
        watching = watch(service, "readiness")
        assert await status(watching) == "NOT_SERVING"
        (record,) = logged.of("tables_missing")
        assert (record["tables"], record["level"]) == (["late"], "error")
        assert logged.of("table_missing")[0]["dynamodb_table"] == late
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(_SPEC)
        assert refusal_of(caught.value).reason == "TABLE_NOT_FOUND"

        await asyncio.to_thread(create, dynamodb_local, late)
        assert await status(watching) == "SERVING"
        assert [await service.check(name) for name in _FOLLOWING] == ["SERVING"] * 5
        assert (await service.query(_SPEC)).stats.items_returned == 3
        watching.cancel()
    delete(dynamodb_local, late)


async def test_a_table_deleted_later_leaves_a_server_ready(
    tmp_path: Path, dynamodb_local: str, events: str, late: str, logged: Logged
) -> None:
    """One table must not make all replicas unready; only its own queries fail."""
    create(dynamodb_local, late)
    catalog = events_catalog(events)
    catalog["tables"]["late"] = {"table": late}
    async with open_service(tmp_path, dynamodb_local, catalog, catalog_refresh=0.05) as service:
        assert (await service.query(_SPEC)).stats.items_returned == 3
        await asyncio.to_thread(delete, dynamodb_local, late)
        await eventually(lambda: logged.of("table_missing"))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(_SPEC, page_size=2)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert await service.check() == "SERVING"
        others = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})
        assert (await service.query(others)).stats.items_returned == 5


async def test_a_catalog_that_gains_a_missing_table_leaves_a_server_ready(
    tmp_path: Path, dynamodb_local: str, events: str, late: str, logged: Logged
) -> None:
    """Only start-up waits for tables."""
    catalog = events_catalog(events)
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        catalog["tables"]["late"] = {"table": late}
        write_catalog(service.catalog_file, catalog)
        await eventually(lambda: logged.of("config_file_reloaded"))
        assert await service.check() == "SERVING"


async def test_a_server_that_cannot_reach_dynamodb_lives_but_is_not_ready(
    tmp_path: Path, logged: Logged
) -> None:
    """An outage at start-up does not end the server."""
    catalog = {"tables": {"late": None}}
    nowhere = "http://127.0.0.1:9"
    async with open_service(tmp_path, nowhere, catalog, backend_attempts=1) as service:
        assert await service.check("liveness") == "SERVING"
        assert await service.check() == "NOT_SERVING"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.query(_SPEC)
        refusal = refusal_of(caught.value)
        assert (refusal.code, refusal.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "BACKEND_UNAVAILABLE",
        )
        assert "127.0.0.1:9" not in refusal.message
        assert logged.of("table_not_described")


async def test_a_draining_server_is_unready_before_it_stops(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Between the end of readiness and the end of service, balancers have the drain delay."""
    spec = query_spec("events", "user_id = :u", parameters={"u": VIKTOR})
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), drain_delay=0.5
    ) as service:
        watching = watch(service, "readiness")
        assert await status(watching) == "SERVING"
        leaving = asyncio.ensure_future(service.app.drain())
        assert await status(watching) == "NOT_SERVING"
        assert await service.check("liveness") == "SERVING"
        assert (await service.query(spec)).stats.items_returned == 5
        watching.cancel()
        await leaving
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await service.check("liveness")
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_watch_does_not_delay_a_draining_server(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """Balancers that watch need nothing more once readiness has ended."""
    async with open_service(
        tmp_path, dynamodb_local, events_catalog(events), drain_grace=10 * PATIENCE
    ) as service:
        watching = watch(service, "")
        assert await status(watching) == "SERVING"
        await asyncio.wait_for(service.app.drain(), PATIENCE)
        assert await status(watching) == "NOT_SERVING"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await watching.read()
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
