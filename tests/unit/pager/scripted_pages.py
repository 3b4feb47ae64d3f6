"""A reader of scripted pages, and the calls that read from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.pager.pager import CallOptions, Pager, PageResult, PagingStart
from dynamodb_processor_server.reader import (
    START,
    Caller,
    Cursor,
    Page,
    PageEnd,
    PageRead,
    PageReader,
    ReadAhead,
)
from tests.support.fake_reader import InMemoryReader, items_of
from tests.support.reads import PRINCIPAL
from tests.unit.dynamodb.small_table import make_items, make_plan

ITEMS: Final = make_items(25)
PLAN: Final = make_plan()


@dataclass(frozen=True, slots=True)
class _Ahead:
    read_at: float | None = 1_000.0


AHEAD: Final = _Ahead()


class ScriptedReader:
    """Reads from memory, but takes `seconds` for each page and fails at the page `fails_at`."""

    def __init__(
        self,
        seconds: float = 0.0,
        fails_at: int | None = None,
        error: Exception | None = None,
    ) -> None:
        self.inner = InMemoryReader(ITEMS)
        self.requests: list[PageRead] = []
        self.cancelled = 0
        self._seconds = seconds
        self._fails_at = fails_at
        self._error = error or BackendUnavailable("broken")

    async def read_page(self, request: PageRead) -> Page:
        """Return the next page, in time, with AHEAD if the call reads on."""
        self.requests.append(request)
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if len(self.requests) == self._fails_at:
            raise self._error
        page = await self.inner.read_page(request)
        if not request.options.reads_on or page.content.next is None:
            return page
        return page._replace(read_ahead=ReadAhead(page.content.next, AHEAD))


def open_pager(
    reader: PageReader,
    *,
    returned: int = 0,
    max_items: int | None = None,
    page_size: int = 10,
    seconds: float = 60.0,
    cursor: Cursor = START,
    **options: Any,
) -> Pager:
    """Return the pager of a call, from the start and with a minute's time unless given."""
    caller = Caller(PRINCIPAL, asyncio.get_running_loop().time() + seconds)
    start = PagingStart(PLAN, cursor, returned, max_items)
    return Pager(reader, start, CallOptions(page_size, caller, **options))


async def collect(pager: Pager) -> list[PageResult]:
    """Return every page of a call."""
    return [step async for step in pager.pages()]


def ends(steps: list[PageResult]) -> list[PageEnd]:
    """Return the end reason of each page."""
    return [step.page.content.end for step in steps]


def delivered(steps: list[PageResult]) -> list[dict[str, Any]]:
    """Return all items of all pages."""
    return [item for step in steps for item in items_of(step.page)]
