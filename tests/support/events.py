"""A table of events with known contents."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.dynamodb import create_table, put_items

LONG: Final = "u-long"
"""The user with `LONG_ITEMS` events; every other has `SHORT_ITEMS`."""
LONG_ITEMS: Final = 5_000
SHORT_ITEMS: Final = 40
USERS: Final = tuple(f"u-{number}" for number in range(20))


def schema(table: str) -> Schema:
    """Return the schema of a table of events."""
    by_system = Index("by_system", False, ("system_id",), ("seq",))
    types = {"user_id": "S", "seq": "N", "system_id": "S"}
    return Schema(table, "user_id", "seq", (by_system,), types)


def load_events(client: Any, table: str, long_items: int = LONG_ITEMS) -> None:
    """Create a table of events and fill it."""
    create_table(client, schema(table))
    put_items(client, table, _items(long_items))


def sequence(items: list[WireItem]) -> list[int]:
    """Return the sequence numbers of events, in the order of the items."""
    return [int(item["seq"]["N"]) for item in items]


def _items(long_items: int) -> Iterator[WireItem]:
    for user in USERS:
        yield from _events_of(user, SHORT_ITEMS)
    yield from _events_of(LONG, long_items)


def _events_of(user: str, count: int) -> Iterator[WireItem]:
    for number in range(count):
        yield {
            "user_id": {"S": user},
            "seq": {"N": str(number)},
            "system_id": {"S": f"s-{number % 7}"},
            "action": {"S": ("login", "read", "write")[number % 3]},
            "tags": {"SS": ["a", "b"]},
        }
