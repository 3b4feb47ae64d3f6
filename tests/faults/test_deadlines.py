"""Callers' deadlines: the server's own deadline ends longer calls."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest, QueryRequest
from tests.faults.conftest import open_ground
from tests.faults.load import USERS
from tests.support.lengths import PATIENCE
from tests.support.running import eventually, query_spec, refusal_of

_YEAR: Final = 365 * 24 * 3600.0


async def test_a_year_is_cut_to_the_servers_deadline(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """A caller with a deadline in a year gets DEADLINE_EXCEEDED after the server's own."""
    async with open_ground(
        tmp_path, dynamodb_local, table, backend_read_timeout=600.0, unary_deadline=0.5
    ) as ground:
        service = ground.service
        ground.stub.gate.clear()
        spec = query_spec("events", "user_id = :u", parameters={"u": USERS[0]})
        calls: list[Any] = [
            service.queries.Query(
                QueryRequest(query=spec), metadata=service.metadata(), timeout=_YEAR
            ),
            service.queries.CountItems(
                CountItemsRequest(query=spec), metadata=service.metadata(), timeout=_YEAR
            ),
        ]
        for call in calls:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            refusal = refusal_of(caught.value)
            assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert refusal.reason == "DEADLINE_EXCEEDED", "the server's, with its details"
        ground.stub.gate.set()


async def test_a_unary_call_outlasts_its_connections_age(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """A call on a connection that reached its age has `unary_deadline`, not the shorter grace."""
    async with open_ground(
        tmp_path,
        dynamodb_local,
        table,
        backend_read_timeout=600.0,
        shared_read_timeout=PATIENCE,
        unary_deadline=PATIENCE,
        max_connection_age=0.2,
        max_connection_age_grace=0.1,
    ) as ground:
        service = ground.service
        ground.stub.gate.clear()
        spec = query_spec("events", "user_id = :u", parameters={"u": USERS[0]})
        call = asyncio.create_task(service.query(spec))
        await eventually(lambda: ground.stub.reads == 1)
        async with grpc.aio.insecure_channel(
            service.app.address, [("grpc.use_local_subchannel_pool", 1)]
        ) as idle:
            ended = 0
            while ended < 2:  # So the call's connection is older than its age and grace.
                state = idle.get_state(try_to_connect=True)
                await idle.wait_for_state_change(state)
                ended += state is grpc.ChannelConnectivity.READY
        assert not call.done()
        ground.stub.gate.set()
        assert (await call).items
