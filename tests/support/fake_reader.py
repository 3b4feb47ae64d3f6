"""A Reader without DynamoDB, which passes the same contract suite, and access to pages."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_server.cursor import (
    EXHAUSTED,
    PartitionCursor,
    decode_cursor,
    encode_cursor,
    key_of,
)
from dynamodb_processor_server.errors import DeadlineExceeded
from dynamodb_processor_server.query.expression.ast import Path
from dynamodb_processor_server.query.expression.evaluator import evaluate
from dynamodb_processor_server.query.expression.parser import parse_path
from dynamodb_processor_server.query.expression.values import Value, WireItem, from_wire
from dynamodb_processor_server.query.planning.plan import Operation, Plan
from dynamodb_processor_server.query.planning.projection import project
from dynamodb_processor_server.reader import (
    Cursor,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    Usage,
)
from tests.support.messages import from_item, to_value

#: Read units to evaluate one item, matching or not.
UNITS_PER_ITEM: Final = 0.5


class InMemoryReader:
    """Answers plans from a list of items, evaluating one item after another.

    It has no requests and no `Limit`, keeps only the port's promises, and never reads beyond a
    page, so that it fills no prefetch buffer. `calls` are the requested cursors. Change `items` to
    write to the table.
    """

    def __init__(
        self,
        items: Iterable[WireItem],
        max_page_bytes: int = 1_000_000,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.items = [dict(item) for item in items]
        self.calls: list[Cursor] = []
        self._max_page_bytes = max_page_bytes
        self._now = now

    async def read_page(self, request: PageRead) -> Page:
        """Return the page that begins at the request's cursor; see `PageReader`."""
        plan = request.plan
        self.calls.append(request.cursor)
        page = _PageInTheMaking(request, self._max_page_bytes, self._now())
        if plan.operation is Operation.NOTHING:
            return page.ended(PageEnd.EXHAUSTED)
        await asyncio.sleep(0)
        if asyncio.get_running_loop().time() >= request.options.hard_deadline:
            raise DeadlineExceeded("too late")
        for branch, item in _in_order(plan, page.branches_of(self.items)):
            end = page.take(branch, item)
            if end is not None:
                return page.ended(end)
        return page.ended(PageEnd.EXHAUSTED)


class _PageInTheMaking:
    def __init__(self, request: PageRead, max_bytes: int, read_at: float) -> None:
        plan = request.plan
        self._plan = plan
        self._options = request.options
        self._max_bytes = max_bytes
        self._read_at = read_at
        self._items: list[bytes] = []
        self._count = 0
        self._scanned = 0
        self._cursors = decode_cursor(request.cursor, len(plan.requests))
        self._left: list[int] = []  # How many items of each partition lie ahead.

    def branches_of(self, items: Iterable[WireItem]) -> list[list[WireItem]]:
        """Return each partition's items after the cursor, in order."""
        held = [item for item in items if all(n in item for n in self._plan.path.cursor_attributes)]
        branches = [
            [item for item in held if _is_in(self._plan, values, item)]
            for values in self._plan.key.branches
        ]
        ahead = [
            _behind(self._plan, cursor, branch)
            for cursor, branch in zip(self._cursors, branches, strict=True)
        ]
        self._left = list(map(len, ahead))
        return ahead

    def take(self, branch: int, item: WireItem) -> PageEnd | None:
        """Evaluate one item; return the page's end reason if it ends before it."""
        limit = self._limit_reached()
        if limit is not None:
            return limit
        if _matches(self._plan, item):
            if not self._plan.counts:
                chunk = QueryResponse(items=[_message(self._plan, item)]).SerializeToString()
                size = sum(map(len, self._items))
                if self._items and size + len(chunk) > self._max_bytes:
                    return PageEnd.RESPONSE_BYTES
                self._items.append(chunk)
            self._count += 1
        self._scanned += 1
        self._left[branch] -= 1
        self._cursors[branch] = key_of(item, self._plan.path.cursor_attributes)
        return None

    def _limit_reached(self) -> PageEnd | None:
        options, budget, scanned = self._options, self._options.budget, self._scanned
        if self._count == options.page_size:
            return PageEnd.PAGE_FULL
        if not scanned:
            return None  # Some progress is always made.
        if budget.max_scanned_items is not None and scanned >= budget.max_scanned_items:
            return PageEnd.SCAN_BUDGET
        if budget.max_read_units is not None and scanned * UNITS_PER_ITEM >= budget.max_read_units:
            return PageEnd.READ_UNIT_BUDGET
        late = asyncio.get_running_loop().time() >= options.soft_deadline
        return PageEnd.TIME_BUDGET if late else None

    def ended(self, end: PageEnd) -> Page:
        """Return the page."""
        cursors = (
            cursor if left else EXHAUSTED
            for cursor, left in zip(self._cursors, self._left, strict=False)
        )
        following = None if end is PageEnd.EXHAUSTED else encode_cursor([*cursors])
        content = PageContent(b"".join(self._items), self._count, following, end, self._read_at)
        calls = 0 if self._plan.operation is Operation.NOTHING else 1
        return Page(content, Usage(self._scanned, self._scanned * UNITS_PER_ITEM, calls))


def _is_in(plan: Plan, partition: tuple[Value, ...], item: WireItem) -> bool:
    """Return whether an item is in a partition and the range that is read of it."""
    names = (attribute.name for attribute in plan.path.key.partition)
    fixed = zip(names, partition, strict=False)  # A scan fixes nothing.
    return all(from_wire(item[name]) == value for name, value in fixed) and all(
        evaluate(term, item) for term in plan.key.sort_conditions
    )


def _behind(plan: Plan, cursor: PartitionCursor, items: list[WireItem]) -> list[WireItem]:
    """Return a partition's items after a cursor, in order."""

    def order(key: Mapping[str, Any]) -> tuple[Any, ...]:
        names = (
            *(attribute.name for attribute in plan.path.key.sort),
            *plan.path.cursor_attributes,
        )
        return tuple(from_wire(key[name]).order for name in names)

    if cursor is EXHAUSTED:
        return []
    found = sorted(items, key=order, reverse=plan.descending)
    if not isinstance(cursor, Mapping):
        return found
    start = order(cursor)
    return [i for i in found if (order(i) < start if plan.descending else order(i) > start)]


def _in_order(plan: Plan, branches: list[list[WireItem]]) -> Iterator[tuple[int, WireItem]]:
    """Yield all items by sort key, those of the earlier partition first where they tie."""

    def sort_key(entry: tuple[int, WireItem]) -> tuple[Any, ...]:
        return tuple(from_wire(entry[1][each.name]).order for each in plan.path.key.sort)

    entries = [(number, item) for number, branch in enumerate(branches) for item in branch]
    if len(branches) > 1:
        entries.sort(key=sort_key, reverse=plan.descending)  # Stable in both directions.
    yield from entries


def _matches(plan: Plan, item: WireItem) -> bool:
    conditions = [condition for condition in (plan.filter, plan.local_filter) if condition]
    return all(evaluate(condition, item) for condition in conditions)


def _message(plan: Plan, item: WireItem) -> Item:
    shape = plan.projection
    request = plan.requests[0] if plan.hydration is None else plan.hydration.request
    fetched = request.get("ProjectionExpression")
    if fetched:
        names = request["ExpressionAttributeNames"]
        texts = (
            re.sub(r"#\d+", lambda m: str(Path((names[m[0]],))), t) for t in fetched.split(", ")
        )
        item = project(item, map(parse_path, texts))
    if shape.paths:
        item = project(item, shape.paths)
    elif shape.attributes is not None:
        item = {name: value for name, value in item.items() if name in shape.attributes}
    return Item(attributes={name: to_value(dict(value)) for name, value in item.items()})


def items_of(page: Page | PageContent) -> list[dict[str, dict[str, Any]]]:
    """Return the items of a page, in wire form."""
    content = page.content if isinstance(page, Page) else page
    items = [from_item(item) for item in QueryResponse.FromString(content.items).items]
    assert len(items) == content.count
    return items
