"""A cached reader of a small table, with a clock that is set by hand."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Final

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.reader import cached_reader
from dynamodb_processor_server.catalog.identity import TableIdentity
from dynamodb_processor_server.errors import (
    DeadlineExceeded,
)
from dynamodb_processor_server.query.expression.values import Value
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.tags import tags_of_partitions
from dynamodb_processor_server.reader import (
    START,
    CacheMode,
    CachePolicy,
    Cursor,
    Page,
    PageRead,
    ReadAhead,
)
from tests.support.fake_reader import InMemoryReader, items_of
from tests.support.reads import make_read
from tests.unit.dynamodb.small_table import make_items, make_plan

PLAN: Final = make_plan()
TTL: Final = 300.0
BYPASS, REFRESH, ONLY = (
    CachePolicy(mode) for mode in (CacheMode.BYPASS, CacheMode.REFRESH, CacheMode.ONLY_IF_CACHED)
)


@dataclass(frozen=True, slots=True)
class _Ahead:
    read_at: float | None = 1_000.0


AHEAD: Final = _Ahead()


class CachedTable:
    """A table of 25 items, a cached reader of it, and a clock. Reads take `seconds`.

    With `reads_ahead`, each page comes with AHEAD. `in_advance` are the prefetched items that each
    read of a call that reads on got, `strong` whether it was a consistent one. All writes before
    `followed_until` have been dealt with by a stream consumer.
    """

    def __init__(
        self, *, store_bytes: int = 1_000_000, jitter: float = 0.0, read_timeout: float = 20.0
    ) -> None:
        self.now = 1_000.0
        self.seconds = 0.0
        self.error: Exception | None = None
        self.valid_until: float | None = None
        self.reads_ahead = False
        self.followed_until = float("-inf")
        self.in_advance: list[object] = []
        self.strong: list[bool] = []
        self.table = InMemoryReader(make_items(25), now=lambda: self.now)
        self.store = PageStore(store_bytes, lambda: self.now)
        self.generations = Generations(lambda: self.now)
        self.reader = cached_reader(
            self,
            self.store,
            self.generations,
            read_timeout,
            now=lambda: self.now,
            jitter=lambda: jitter,
            followed_until=lambda _: self.followed_until,
        )

    async def read_page(self, request: PageRead) -> Page:
        """Read as DynamoDB would: the data is that of the beginning."""
        self.strong.append(request.plan.consistent)
        if request.options.reads_on:
            ahead = request.read_ahead
            self.in_advance.append(None if ahead is None else ahead.items)
        page = await self.table.read_page(request)
        try:
            async with asyncio.timeout_at(request.options.hard_deadline):
                await asyncio.sleep(self.seconds)
        except TimeoutError:
            raise DeadlineExceeded("too late") from None
        if self.error is not None:
            raise self.error
        if self.reads_ahead:
            ahead = ReadAhead(page.content.next or b"", AHEAD, request.snapshot)
            page = page._replace(read_ahead=ahead)
        return page._replace(content=replace(page.content, valid_until=self.valid_until))

    async def get(self, plan: Plan = PLAN, at: Cursor = START, **options: Any) -> Page:
        """Return a page of the cached reader."""
        return await self.reader.read_page(make_read(plan, at, **options))

    @property
    def reads(self) -> int:
        """The number of reads of the table."""
        return len(self.table.calls)


def write(cached: CachedTable, number: int = 99) -> None:
    """Change the first item, which is device d's and low."""
    cached.table.items[0] |= {"value": {"N": str(number)}, "level": {"S": "low"}}


def invalidate(cached: CachedTable, device: str = "d") -> None:
    """Invalidate the partition of a device."""
    key = (Value("S", device),)
    cached.generations.invalidate(
        tags_of_partitions(TableIdentity("readings"), [(PLAN.table.schema.base, key)])
    )


def value(page: Page) -> int:
    """Return the value of the first item of a page."""
    return int(items_of(page)[0]["value"]["N"])
