"""The server of the demo, with its own files and an API key for this run only."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from dynamodb_processor_server.app import open_app
from dynamodb_processor_server.auth.keys_file import KeyEntry, new_key, render_entry
from dynamodb_processor_server.demo.backends import Backend
from dynamodb_processor_server.demo.connection import Connection
from dynamodb_processor_server.demo.sample_table import SampleTable
from dynamodb_processor_server.settings import Settings

# Variables for another server do not change this one.
_ENVIRONMENT_PREFIX: Final = "DYNAMODB_PROCESSOR_DEMO_"
_DRAIN_GRACE: Final = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class Service:
    """A running server.

    Attributes:
        connection: The address, with the API key.
        metrics_port: The port of the metrics, on the loopback interface.
        catalog: The catalog file.
        keys: The keys file.
    """

    connection: Connection
    metrics_port: int | None
    catalog: Path
    keys: Path


@contextlib.asynccontextmanager
async def open_service(
    backend: Backend, tables: Sequence[SampleTable], listen: str
) -> AsyncIterator[Service]:
    """Serve the tables during the `async with`.

    Raises:
        ConfigurationError: The server cannot listen on the address.
    """
    with tempfile.TemporaryDirectory(prefix="dynamodb-processor-demo-") as folder:
        catalog, keys = Path(folder, "catalog.yaml"), Path(folder, "keys.yaml")
        _write_catalog(catalog, tables)
        key = _write_keys(keys)
        settings = Settings(
            _env_prefix=_ENVIRONMENT_PREFIX,
            catalog=catalog,
            keys=keys,
            listen=listen,
            insecure=True,  # sample data, and a key for this run only
            metrics_listen="127.0.0.1:0",  # one port less that can be taken
            endpoint_url=backend.endpoint_url,
            region=backend.region,
            log_format="console",
            log_level="WARNING",
            drain_delay=0.0,
            drain_grace=_DRAIN_GRACE,
        )
        async with open_app(settings) as app:
            yield Service(Connection(app.address, key), app.metrics_port, catalog, keys)


def _write_catalog(file: Path, tables: Sequence[SampleTable]) -> None:
    catalog = {"tables": {table.name: table.declaration() for table in tables}}
    file.write_text(yaml.safe_dump(catalog, sort_keys=False), "utf-8")


def _write_keys(file: Path) -> str:
    """Write the keys file with one new key, and return the key."""
    key, digest = new_key()
    entry = KeyEntry(id="demo-1", principal="demo", digest=digest, tables=("*",))
    file.write_text(f"keys:\n{render_entry(entry)}", "utf-8")
    return key
