"""Keys that grant no table of the catalog."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.unused_keys import keys_without_tables
from dynamodb_processor_server.catalog.config import CatalogConfig
from dynamodb_processor_server.config_files import ConfigDocument
from tests.support.processes import ServerProcess
from tests.support.running import eventually, make_key


def unused(catalog: dict[str, Any], *tables: Any) -> bool:
    """Return whether a key for these tables grants nothing of a catalog."""
    key = make_key("one", tables=tables)
    text = yaml.safe_dump({"keys": [dict(key.entry)]})
    ring = KeyRing.build(ConfigDocument(Path("k"), text.encode()))
    return keys_without_tables(ring, CatalogConfig.model_validate(catalog)) == ["one"]


@pytest.mark.parametrize(
    ("catalog", "tables", "expected"),
    [
        ({"tables": {"flights": None}}, ["flights"], False),
        ({"tables": {"flights": None}}, ["flihgts"], True),
        ({"tables": {"flights": None}}, ["flihgts", "fl*"], False),
        ({"tables": {"flights": None}}, ["x*"], True),
        ({"tables": {"flights": None}}, [{"table": "f?ights", "rule": "a = 1"}], False),
        ({"discover": ["team-*"]}, ["team-a"], False),
        ({"discover": ["team-*"]}, ["flights"], True),
        ({"discover": ["team-*"]}, ["*-a"], False),
    ],
)
def test_a_key_is_unused_if_none_of_its_tables_can_be_read(
    catalog: dict[str, Any], tables: list[Any], expected: bool
) -> None:
    """Names are compared with the catalog's names and patterns, patterns with its names."""
    assert unused(catalog, *tables) is expected


async def test_a_server_warns_of_unused_keys_at_start_and_after_changes(
    serve: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    """Both files decide, so a change of either file starts the check again."""
    key = make_key("mistyped", tables=["flihgts"])
    server = serve(
        {"discover": ["team-*"]}, {"keys": [dict(key.entry)]}, args=["--reload-interval=0.1"]
    )
    assert server.wait_for_event("key_grants_no_table")["key_id"] == "mistyped"
    valid = make_key("valid", tables=["team-a"])
    keys = tmp_path / "server-1" / "keys.yaml"
    keys.write_text(yaml.safe_dump({"keys": [dict(valid.entry)]}))
    server.wait_for_event("config_file_reloaded")
    keys.with_name("catalog.yaml").write_text("tables: {flights: }")
    await eventually(lambda: any(record.get("key_id") == "valid" for record in server.records))
