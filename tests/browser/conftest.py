"""The console in a real browser, before a gateway, a server and DynamoDB Local."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from dynamodb_processor_server.demo.flights import flights
from gateway.options import Address
from tests.browser.link import open_link
from tests.browser.theatre import CARRIERS, ODD, Theatre
from tests.support.access import ApiKey, keys_file
from tests.support.chromium import Browser, find_browser
from tests.support.datasets import Index, Schema
from tests.support.documentation import ROOT
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import ENVIRONMENT
from tests.support.gateway import running_gateway
from tests.support.processes import ServerProcess, free_port, served

_KEY: Final = ApiKey("console")
_FLIGHTS: Final = Schema(
    "console-flights",
    "carrier",
    "departure",
    (Index("by_aircraft", False, ("tailnum",), ("time_hour",)),),
    {"carrier": "S", "departure": "S", "tailnum": "S", "time_hour": "S"},
)
_ODD: Final = Schema("console-odd", "id", "n", (), {"id": "S", "n": "N"})
_CATALOG: Final = {
    "tables": {
        "flights": {
            "table": _FLIGHTS.table,
            "description": "Flights that left New York from 1 to 5 January 2013",
        },
        "odd": {"table": _ODD.table},
    }
}


@pytest.fixture(scope="session")
def browser(show_line: Callable[[str], None]) -> Browser:
    """Headless Chromium."""
    return find_browser(show_line)


@pytest.fixture(scope="session")
def console_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built console."""
    folder = tmp_path_factory.mktemp("console") / "dist"
    command = [sys.executable, str(ROOT / ".ci/console.py"), "--out", str(folder)]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def items() -> list[dict[str, Any]]:
    """The flights of some carriers, in the order in which the scenes read them."""
    found = [item for item in flights().items if item["carrier"] in CARRIERS]
    return sorted(found, key=lambda item: (item["departure"], item["carrier"]))


@pytest.fixture(scope="session")
def server(
    dynamodb_local: str, items: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server over flights, and over items of odd values."""
    client = open_client(dynamodb_local)
    for schema, content in ((_FLIGHTS, map(_wire, items)), (_ODD, ODD)):
        create_table(client, schema)
        put_items(client, schema.table, content)
    client.close()
    with served(
        _CATALOG,
        keys_file(_KEY),
        tmp_path_factory.mktemp("server"),
        endpoint_url=dynamodb_local,
        env=ENVIRONMENT,
    ) as process:
        yield process


@pytest.fixture(scope="session")
def theatre(
    server: ServerProcess,
    browser: Browser,
    console_files: Path,
    items: list[dict[str, Any]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Theatre]:
    """Everything that a scene needs: the console on its own port, and a link that can be cut."""
    folder = tmp_path_factory.mktemp("gateway")
    console, listen = (Address("127.0.0.1", free_port()) for _ in range(2))
    config = {"gateway": f"http://{listen}"}
    (console_files / "config.json").write_text(json.dumps(config), "utf-8")
    with (
        open_link(server.address) as link,
        running_gateway(
            folder,
            link.address,
            listen=listen,
            allow_origins=[f"http://{console}"],
            static=[(console, console_files)],
            static_connect=[f"http://{listen}"],
        ) as gateway,
    ):
        yield Theatre(browser, f"http://{console}/", _KEY.text, link, gateway, items)


def _wire(item: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"N": str(value)} if isinstance(value, Decimal) else {"S": value}
        for name, value in item.items()
        if value is not None
    }
