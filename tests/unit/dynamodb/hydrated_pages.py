"""Hydrated pages of a partial index, and an index that is behind its table."""

from __future__ import annotations

from typing import Any, Final

import pytest

from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import START, Cursor, Page
from tests.support.fake_reader import items_of
from tests.support.reads import make_options
from tests.unit.dynamodb.lagging_index import LaggingIndex, job, plan_for

OPEN: Final = plan_for("state = 'open'")
BACKWARDS: Final = plan_for("state = 'open'", descending=True)
SIZES: Final = pytest.mark.parametrize("size", [1, 3, 7, 100])


def jobs(count: int, **values: Any) -> list[WireItem]:
    """Return open jobs, in pairs that are due at the same time."""
    return [job(f"j{number:03}", number // 2, **values) for number in range(count)]


async def traverse(index: LaggingIndex, plan: Plan, size: int, at: Cursor = START) -> list[Page]:
    """Return every page from a cursor on."""
    pages: list[Page] = []
    following: Cursor | None = at
    while following is not None:
        pages.append(await index.page(plan, following, make_options(size)))
        assert pages[-1].content.next != following, "no progress"
        following = pages[-1].content.next
    return pages


def joined(pages: list[Page]) -> list[WireItem]:
    """Return the items of all pages."""
    return [item for page in pages for item in items_of(page)]


def lagging() -> tuple[LaggingIndex, list[WireItem]]:
    """Return an index that is behind its table in every way possible, and the remaining items."""
    shown = jobs(40)
    items: dict[str, Any] = {str(item["job"]["S"]): item for item in jobs(40)}
    items["j003"] = job("j003", 17)  # It is due later now, where the index will show it soon.
    items["j004"] = job("j004", 2, state="done")
    del items["j005"]
    del items["j006"]["due"]  # It is no longer in the index.
    items["j007"]["state"] = {"B": b"open"}  # It is no longer in the index either.
    items["j008"] = job("j008", 4, kind="even")
    items["j009"]["due"] = {"N": "4.0"}  # Another item has the same number.
    items["j010"]["note"] = {"S": "changed"}
    for number in (0, 38, 39):
        del items[f"j{number:03}"]
    dropped = {"j000", "j003", "j004", "j005", "j006", "j007", "j008", "j038", "j039"}
    left = [items[name] for name in sorted(items) if name not in dropped]
    return LaggingIndex(shown, items.values(), lambda item: item["kind"] == {"S": "odd"}), left
