"""Several partitions of a table behind an open breaker: one of them probes for all."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from dynamodb_processor_server.dynamodb.backend import Backend, BackendSettings
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.reader import PageEnd
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitState
from tests.support.reads import make_read
from tests.support.warped_time import warped
from tests.unit.dynamodb.scripted_client import refusal, state_of
from tests.unit.dynamodb.small_table import make_plan

PLAN = make_plan("device IN ('a', 'b', 'c')")


class Table:
    """A client of an empty table that may fail; it counts its concurrent requests."""

    def __init__(self) -> None:
        self.broken = True
        self.active = self.most = self.requests = 0

    async def client(self, region: str | None, role_arn: str | None) -> Table:
        """Return the client."""
        return self

    async def query(self, **request: Any) -> dict[str, Any]:
        """Answer after a moment."""
        self.requests += 1
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            await asyncio.sleep(0.01)
        finally:
            self.active -= 1
        if self.broken:
            raise refusal("InternalServerError", 500)
        return {"Items": [], "Count": 0, "ScannedCount": 0}


@warped
async def test_a_recovered_table_is_read() -> None:
    """The first caller that reads several partitions succeeds, and no request is wasted."""
    table = Table()
    settings = BackendSettings(1, breaker=BreakerSettings(minimum_calls=3))
    backend = Backend(cast("Clients", table), settings)
    reader = DynamoDBReader(backend, 1_000_000)
    for name in "xyz":  # One query that always fails is no sign of a failing table.
        failing = make_plan(f"device IN ('a', 'b', '{name}')")
        with pytest.raises(BackendUnavailable):
            await reader.read_page(make_read(failing))
    assert state_of(backend, "readings") is CircuitState.OPEN
    await asyncio.sleep(3.0)
    table.broken, table.requests, table.most = False, 0, 0
    page = await reader.read_page(make_read(PLAN))
    assert page.content.end is PageEnd.EXHAUSTED
    assert state_of(backend, "readings") is CircuitState.CLOSED
    assert (table.requests, table.most) == (3, 2)
