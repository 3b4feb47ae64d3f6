"""The tables that the tests of this folder read, and the catalog that serves them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema

ULRIKE: Final = "ulrike-lindqvist"  # has 250 events
VIKTOR: Final = "viktor-dahlgren"  # has 5
COUNTS: Final = {ULRIKE: 250, VIKTOR: 5}
NOTE: Final = "confidential remark"  # in every item, and never in a log
FOUND_PREFIX: Final = "rpc-found-"


def events_schema(table: str) -> Schema:
    """Return a table of events by user and time, with an index of each kind."""
    return Schema(
        table=table,
        partition="user_id",
        sort="at",
        indexes=(
            Index("by_level", local=True, partition=("user_id",), sort=("level",),
                  projection="KEYS_ONLY"),
            Index("by_kind", local=False, partition=("kind",), sort=(),
                  projection="INCLUDE", include=("note",)),
            Index("by_system", local=False, partition=("system_id",), sort=("at",)),
        ),
        types={"user_id": "S", "at": "N", "level": "N", "kind": "S", "system_id": "S"},
    )  # fmt: skip


def event(user: str, at: int) -> WireItem:
    """Return one event; every tenth has a `kind`."""
    item: dict[str, dict[str, Any]] = {
        "user_id": {"S": user},
        "at": {"N": str(at)},
        "level": {"N": str(at % 7)},
        "system_id": {"S": "crm" if at % 2 else "billing"},
        "note": {"S": f"{NOTE} {at}"},
        "address": {"M": {"city": {"S": "Lund"}, "lines": {"L": [{"S": "a"}, {"S": "b"}]}}},
    }
    return item if at % 10 else item | {"kind": {"S": "login"}}


def events_catalog(table: str) -> dict[str, Any]:
    """Return a catalog that serves the one table under several names and rules."""
    served: dict[str, Mapping[str, Any]] = {
        "events": {"description": "What users did.", "required": ["system_id", "level"]},
        "uncached": {"cache_ttl": 0, "required": ["system_id", "level"]},
        "narrow": {"attributes": ["user_id", "at", "level"], "required": ["level"]},
        "scannable": {"allow_scan": True, "page_size": {"default": 3, "maximum": 20}},
    }
    return {"tables": {name: {"table": table, **rules} for name, rules in served.items()}}
