"""The demo's tables on DynamoDB Local, a server for them, and a gateway with the reference page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor_server.demo.activity import activity
from dynamodb_processor_server.demo.audit_events import audit_events
from dynamodb_processor_server.demo.backends import Backend
from dynamodb_processor_server.demo.flights import flights
from dynamodb_processor_server.demo.loading import load
from dynamodb_processor_server.demo.sample_table import SampleTable
from dynamodb_processor_server.demo.tool_cache import ToolCache
from gateway.reference import write_reference
from tests.support.access import ApiKey, keys_file
from tests.support.backends import REGION
from tests.support.event_service import ENVIRONMENT
from tests.support.gateway import Gateway, running_gateway
from tests.support.processes import served

KEYS: Final = {
    "reader": ApiKey("reader", roles=("reader",)),
    "admin": ApiKey("admin", roles=("reader", "admin")),
}


@dataclass(frozen=True, slots=True)
class Samples:
    """A gateway before the demo's tables, and the folder of its reference page."""

    gateway: Gateway
    reference: Path


@pytest.fixture(scope="session")
def sample_tables(dynamodb_local: str) -> tuple[SampleTable, ...]:
    """The tables of the demo in DynamoDB Local, with the items of the examples."""
    events = audit_events()
    tables = (
        _only(events, system_id="billing"),
        _only(flights(), carrier="UA", tailnum="N730MQ"),
        _only(activity(events), action="nothing"),
    )
    asyncio.run(load(Backend("dynamodb-local", dynamodb_local, REGION), tables))
    return tables


def _only(table: SampleTable, **wanted: str) -> SampleTable:
    """Return a table with the items that have one of the values: writing all takes long."""
    found = [
        item
        for item in table.items
        if any(item.get(name) == value for name, value in wanted.items())
    ]
    return replace(table, items=tuple(found))


@pytest.fixture(scope="session")
def samples(
    dynamodb_local: str,
    sample_tables: tuple[SampleTable, ...],
    tmp_path_factory: pytest.TempPathFactory,
    show_line: Callable[[str], None],
) -> Iterator[Samples]:
    """A server over the tables, and a gateway before it that serves the reference page."""
    folder = tmp_path_factory.mktemp("samples")
    reference = write_reference(folder / "site", ToolCache(report=show_line))
    catalog = {"tables": {table.name: table.declaration() for table in sample_tables}}
    with (
        served(
            catalog, keys_file(*KEYS.values()), folder, endpoint_url=dynamodb_local, env=ENVIRONMENT
        ) as server,
        running_gateway(folder, server.address, reference=reference) as gateway,
    ):
        yield Samples(gateway, reference)
