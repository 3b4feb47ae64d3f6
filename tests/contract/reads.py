"""Plans of the contract tests' table, requests for its pages, and complete reads."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dynamodb_processor_server.query.expression.ast import Query
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.planner import plan_query
from dynamodb_processor_server.reader import (
    START,
    Cursor,
    Page,
    PageEnd,
    PageRead,
    PageReader,
    ReadAhead,
)
from tests.contract.stores import Store
from tests.support import reads
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


def make_read(plan: Plan, cursor: Cursor = START, page_size: int = 100, **fields: Any) -> PageRead:
    """Return the request for a page; `fields` are those of `tests.support.reads.make_read`."""
    return reads.make_read(plan, cursor, page_size, **fields)


async def read_all(
    reader: PageReader, plan: Plan, page_size: int, cursor: Cursor = START, **fields: Any
) -> list[Page]:
    """Return every page from a cursor on; with `reads_on`, as those of one call."""
    pages: list[Page] = []
    following: Cursor | None = cursor
    read_ahead: ReadAhead | None = None
    while following is not None:
        request = make_read(plan, following, page_size, read_ahead=read_ahead, **fields)
        pages.append(await reader.read_page(request))
        following, read_ahead = pages[-1].content.next, pages[-1].read_ahead
        assert len(pages) < 500, "a traversal that never ends"
    return pages


def joined(pages: list[Page]) -> list[dict[str, Any]]:
    """Return the items of all pages."""
    return [item for page in pages for item in items_of(page)]


def counted(items: list[dict[str, Any]]) -> Counter[Any]:
    """Return items as a multiset."""
    return Counter(map(canonical_item, items))


async def check_cursors_resume(store: Store, plan: Plan, page_size: int) -> list[Page]:
    """Check every cursor with a fresh reader and another page size; return the pages."""
    pages = await read_all(store.reader(), plan, page_size)
    for number, page in enumerate(pages[:-1], 1):
        assert page.content.next is not None
        rest = await read_all(store.reader(), plan, 10, page.content.next)
        assert joined(pages[:number]) + joined(rest) == joined(pages)
    return pages


async def check_one_call(store: Store, plan: Plan) -> list[Page]:
    """Check that one call gets the pages of several and evaluates no item twice; return them."""
    alone = await read_all(store.reader(), plan, 3)
    together = await read_all(store.reader(), plan, 3, reads_on=True)
    assert joined(together) == joined(alone)
    whole = await read_all(store.reader(), plan, 100)
    evaluated = sum(page.usage.items_scanned for page in whole)
    assert sum(page.usage.items_scanned for page in together) == evaluated
    return together


async def check_page_bytes(store: Store, plan: Plan, most: int) -> list[Page]:
    """Check that pages end by their bytes, with one item at least; return them."""
    pages = await read_all(store.reader(max_page_bytes=most), plan, 100)
    assert all(page.content.end is PageEnd.RESPONSE_BYTES for page in pages[:-1])
    assert all(page.content.count >= 1 for page in pages[:-1])
    assert all(len(page.content.items) <= most or page.content.count == 1 for page in pages)
    return pages
