"""A server over known events, with a gateway before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.support.access import ApiKey, keys_file
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import ENVIRONMENT
from tests.support.events import load_events
from tests.support.gateway import Gateway, running_gateway
from tests.support.processes import ServerProcess, served

#: The origin of pages that may call the gateway.
ORIGIN: Final = "https://console.example:8443"
_TABLE: Final = "gateway-events"
_FLIGHTS: Final = "gateway-flights"
_KEY: Final = ApiKey("gateway", roles=("reader", "admin"))
_CATALOG: Final = {
    "tables": {
        "events": {"table": _TABLE},
        "copies": {"table": _TABLE},
        "flights": {"table": _FLIGHTS},
    }
}


def _flights() -> Iterator[WireItem]:
    """Yield flights as the demo has them, for the examples of the documentation."""
    for number in range(7):
        yield {
            "carrier": {"S": "UA"},
            "departure": {"S": f"2013-01-0{number + 1}T05:15#1545#EWR"},
            "flight": {"N": str(1545 + number)},
            "dep_delay": {"N": str(number * 20)},
        }


@pytest.fixture(scope="session")
def event_table(dynamodb_local: str) -> str:
    """The endpoint of a DynamoDB Local that holds the events and some flights."""
    client = open_client(dynamodb_local)
    load_events(client, _TABLE, 500)
    types = {"carrier": "S", "departure": "S"}
    create_table(client, Schema(_FLIGHTS, "carrier", "departure", (), types))
    put_items(client, _FLIGHTS, _flights())
    client.close()
    return dynamodb_local


@pytest.fixture(scope="session")
def server(event_table: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server over the events."""
    folder = tmp_path_factory.mktemp("server")
    with served(
        _CATALOG, keys_file(_KEY), folder, endpoint_url=event_table, env=ENVIRONMENT
    ) as process:
        yield process


@pytest.fixture(scope="session")
def gateway(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway before the server; requests have an API key of the role `admin`."""
    folder = tmp_path_factory.mktemp("gateway")
    headers = {"x-api-key": _KEY.text}
    with running_gateway(
        folder, server.address, headers=headers, allow_origins=[ORIGIN]
    ) as running:
        yield running
