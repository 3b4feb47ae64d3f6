"""Plans, read options and complete reads for the contract tests of a Reader."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import START, Cursor, Page, PageReader, ReadOptions
from tests.contract.stores import Store
from tests.support.fake_reader import items_of
from tests.support.oracle import canonical_item


def plan_for(
    store: Store, text: str | None, *, projection: tuple[str, ...] = (), **fields: Any
) -> Plan:
    """Return the plan of a query."""
    parameters = {"raw": Value("B", b"\x10")} if text and ":raw" in text else {}
    condition = parse_expression(text, parameters) if text else None
    query = Query("readings", condition, projection=tuple(map(parse_path, projection)), **fields)
    return plan_query(query, store.table)


def make_limits(page_size: int = 100, **fields: Any) -> ReadOptions:
    """Return read options with a deadline in half a minute."""
    until = asyncio.get_running_loop().time() + 30.0
    return ReadOptions(page_size, until, until)._replace(**fields)


async def read_all(
    reader: PageReader, plan: Plan, page_size: int, at: Cursor = START, **fields: Any
) -> list[Page]:
    """Return every page from a cursor on."""
    pages: list[Page] = []
    following: Cursor | None = at
    while following is not None:
        pages.append(await reader.read_page(plan, following, make_limits(page_size, **fields)))
        following = pages[-1].content.next
        assert len(pages) < 500, "a traversal that never ends"
    return pages


def joined(pages: list[Page]) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    return [item for page in pages for item in items_of(page)]


def counted(items: list[dict[str, Any]]) -> Counter[Any]:
    """Return items as a multiset."""
    return Counter(map(canonical_item, items))
