"""Writes the files that a server needs, for tests of its commands."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.backends import REGION
from tests.support.running import make_key, write_catalog, write_keys

NO_ENDPOINT = "http://127.0.0.1:9"


def files(directory: Path, tables: dict[str, Any]) -> list[str]:
    """Write a catalog and a keys file, and return the flags that name them."""
    write_catalog(directory / "catalog.yaml", {"tables": tables})
    write_keys(directory / "keys.yaml", [make_key("one"), make_key("two")])
    names = [f"--{name}={directory / name}.yaml" for name in ("catalog", "keys")]
    return [*names, f"--region={REGION}"]
