"""Tests that connections end at their age, and break streams that outlast it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import ValidationError

from dynamodb_processor.v1.query_service_pb2 import StreamQueryRequest
from dynamodb_processor_server.rpc.server import ConnectionSettings
from dynamodb_processor_server.settings import Settings
from tests.rpc.data import events_catalog
from tests.rpc.hooked import Context, hooked
from tests.support.lengths import PATIENCE
from tests.support.running import open_service


async def test_a_stream_that_outlasts_its_connection_breaks() -> None:
    """It ends with UNAVAILABLE after the age and its grace, and no message has `last`."""

    async def go_on(context: Context) -> None:
        await asyncio.Event().wait()

    options = ConnectionSettings(0.5, 0.5).options
    async with hooked(log=[], options=options) as server:
        server.handlers.act = go_on
        call: Any = server.stub.StreamQuery(StreamQueryRequest())
        messages: list[Any] = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _read_into(messages, call)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert [message.last for message in messages] == [False, False]


async def _read_into(messages: list[Any], call: Any) -> None:
    async for message in call:
        messages.append(message)  # noqa: PERF401 - those before the error count


async def test_a_server_ends_connections_at_their_age(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """An idle connection is ended at `max_connection_age`, again and again."""
    age: dict[str, Any] = {"max_connection_age": 0.2}
    async with open_service(tmp_path, dynamodb_local, events_catalog(events), **age) as service:
        ended = 0
        async with asyncio.timeout(PATIENCE):
            while ended < 2:
                state = service.channel.get_state(try_to_connect=True)
                await service.channel.wait_for_state_change(state)
                ended += state is grpc.ChannelConnectivity.READY
    assert ended == 2


def test_an_age_of_zero_keeps_connections() -> None:
    """GRPC then gets no age; else it gets both, in whole milliseconds."""
    assert ConnectionSettings(0.0, 5.0).options == ()
    assert dict(ConnectionSettings(1.5, 0.0001).options) == {
        "grpc.max_connection_age_ms": 1_500,
        "grpc.max_connection_age_grace_ms": 1,
    }
    assert dict(ConnectionSettings().options) == {
        "grpc.max_connection_age_ms": 60_000,
        "grpc.max_connection_age_grace_ms": 60_000,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_connection_age", -1), ("max_connection_age", 3e6), ("max_connection_age_grace", 0)],
)
def test_an_age_that_grpc_cannot_keep_is_refused(name: str, value: float) -> None:
    """Milliseconds have to fit 32 bits."""
    given: dict[str, Any] = {"catalog": Path("c"), "keys": Path("k"), name: value}
    with pytest.raises(ValidationError, match=name):
        Settings(**given)
