"""Fixtures that take minutes to make, and are kept in the user's cache folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor_server.demo.dynamodb_local import PACKAGE, dynamodb_local
from dynamodb_processor_server.demo.tool_cache import ToolCache, user_cache
from tests.deep.flights import FLIGHTS, SCHEMA, item_of, rows
from tests.support.dynamodb import create_table, open_client, put_items

# Another release or another schema makes another folder.
_IDENTITY: Final = hashlib.sha256(repr((PACKAGE, SCHEMA)).encode()).hexdigest()[:16]


def kept_flights() -> Path:
    """Return the folder in which DynamoDB Local keeps the table of flights."""
    return user_cache() / "flights" / _IDENTITY


@pytest.fixture(scope="session")
def flights(show_line: Callable[[str], None]) -> Iterator[str]:
    """The endpoint URL of a DynamoDB Local that holds every flight, loaded on first use."""
    folder, tools = kept_flights(), ToolCache(report=show_line)
    with _alone_with(folder.parent):
        if not folder.is_dir():
            show_line(f"loading {FLIGHTS} flights into {folder}, once; it takes several minutes")
            _load(folder, tools)
        with dynamodb_local(tools, database=folder) as endpoint_url:
            yield endpoint_url


@contextlib.contextmanager
def _alone_with(folder: Path) -> Iterator[None]:
    """Wait until no other process uses a folder of databases, which have one owner at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _load(folder: Path, tools: ToolCache) -> None:
    """Load the table beside its folder and move it there when it is complete."""
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        with dynamodb_local(tools, database=unfinished) as endpoint_url:
            client = open_client(endpoint_url)
            create_table(client, SCHEMA)
            put_items(client, SCHEMA.table, map(item_of, rows()))
            loaded = client.describe_table(TableName=SCHEMA.table)["Table"]["ItemCount"]
            assert loaded == FLIGHTS, f"{loaded} items of {FLIGHTS} rows"
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
