"""Exports of `ddbq` that are killed twice and resumed, from a real server: equal to the data."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet
import pytest
from boto3.dynamodb.types import TypeSerializer

from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_client.values import Item, decode_item
from tests.support.access import ApiKey, keys_file, token_keys
from tests.support.conditions import WireItem
from tests.support.datasets import Schema
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import NO_LIMITS
from tests.support.lengths import at_length
from tests.support.processes import ServerProcess, served
from tests.unit.client.exporting import decoded_rows, rows, varied

_ITEMS: Final = at_length(3_000, 100_000)
_READER: Final = ApiKey("reader")
_CATALOG: Final = {"tables": {"exported": {"table": "faults-exported"}}}
# Runs `ddbq`, and kills it when it is about to save a state with at least so many items.
_KILLED: Final = """
import json, os, pathlib, signal, sys
most = int(sys.argv.pop(1))
def on_event(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".ddbq-state"):
        if json.loads(pathlib.Path(arguments[0]).read_bytes())["items"] >= most:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(on_event)
from dynamodb_processor_client.command import main
sys.exit(main())
"""
_NEVER: Final = 10**9


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """The items of the table, in the order of their keys."""
    return [decode_item(item) | {"p": "one"} for item in varied(_ITEMS)]


@pytest.fixture(scope="module")
def server(
    dynamodb_local: str, items: list[Item], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server over a table with the items."""
    client = open_client(dynamodb_local)
    create_table(client, Schema("faults-exported", "p", "n", (), {"p": "S", "n": "N"}))
    put_items(client, "faults-exported", map(_wire, items))
    client.close()
    directory = tmp_path_factory.mktemp("exports")
    environment = {
        "DYNAMODB_PROCESSOR_TOKEN_KEYS": token_keys("first"),
        "DYNAMODB_PROCESSOR_RATE_CLASSES": NO_LIMITS,
        "DYNAMODB_PROCESSOR_DRAIN_DELAY": "0",
    }
    with served(
        _CATALOG,
        keys_file(_READER),
        directory,
        endpoint_url=dynamodb_local,
        env=environment,
    ) as running:
        yield running


def _wire(item: Item) -> WireItem:
    serializer = TypeSerializer()
    return {name: serializer.serialize(value) for name, value in item.items()}


async def _export(server: ServerProcess, path: Path, most: int) -> tuple[int, str]:
    """Export the items, kill the command at `most`, and return its status and messages."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _KILLED, str(most)),
        *("stream", "exported", "p = 'one'", "--output", str(path), "--resume"),
        *("--page-size", str(_ITEMS // 30)),
        env=os.environ | {"DDBQ_TARGET": server.address, "DDBQ_API_KEY": _READER.text},
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    return await process.wait(), errors.decode()


def _check_jsonl(path: Path, items: list[Item]) -> None:
    with path.open(encoding="utf-8") as file:
        for item, line in zip(items, file, strict=True):
            assert line == f"{to_json(dict(sorted(item.items())))}\n"


def _check_csv(path: Path, items: list[Item]) -> None:
    columns = sorted(set().union(*items))
    assert rows(path) == decoded_rows(items, columns)


def _check_parquet(path: Path, items: list[Item]) -> None:
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == sorted(set().union(*items))
    for name in ("n", "text", "price", "bytes", "flag", "digits", "a_late_one"):
        assert table.column(name).to_pylist() == [item.get(name) for item in items]
    for name in ("tags", "numbers", "list", "mixed"):
        assert table.column(name).to_pylist() == [to_json(item[name]) for item in items]


_CHECKS: Final[dict[str, Callable[[Path, list[Item]], None]]] = {
    "jsonl": _check_jsonl,
    "csv": _check_csv,
    "parquet": _check_parquet,
}


@pytest.mark.parametrize("form", _CHECKS)
async def test_an_export_is_killed_twice_and_resumed(
    form: str,
    server: ServerProcess,
    items: list[Item],
    tmp_path: Path,
    record_property: Callable[[str, Any], None],
) -> None:
    """An export that was killed twice has every item once, with every digit."""
    path = tmp_path / f"exported.{form}"
    for most in (_ITEMS // 3, 2 * _ITEMS // 3):
        status, errors = await _export(server, path, most)
        assert status == -9, errors
        assert not path.exists()
    status, errors = await _export(server, path, _NEVER)
    assert status == 0, errors
    continued, finished = errors.splitlines()
    assert continued.startswith("continuing after ")
    assert finished == f"{path}: {_ITEMS:,} items"
    _CHECKS[form](path, items)
    record_property("scenario", f"export to {form}, killed twice and resumed")
    record_property("asked", "equal to the data")
    record_property("measured", f"{_ITEMS:,} items, equal; {continued}")
