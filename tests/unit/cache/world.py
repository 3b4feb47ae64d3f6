"""A cached Reader of a small table, with a clock that is set by hand."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, Final

from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.reader import CachingReader
from dynamodb_processor_server.errors import (
    DeadlineExceeded,
)
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    START,
    CacheMode,
    CachePolicy,
    Cursor,
    Page,
    ReadOptions,
)
from tests.support.fake_reader import InMemoryReader
from tests.unit.dynamodb.small_table import make_items, make_limits, make_plan

PLAN: Final = make_plan()
TTL: Final = 300.0
BYPASS, REFRESH, ONLY = (
    CachePolicy(mode) for mode in (CacheMode.BYPASS, CacheMode.REFRESH, CacheMode.ONLY_IF_CACHED)
)


class World:
    """A table of 25 items, a cached reader of it, and a clock. Reads take `seconds`.

    `in_advance` is what each read was given of what its call had read before, `strong` whether it
    was a strong one.
    """

    def __init__(
        self, *, store_bytes: int = 1_000_000, jitter: float = 0.0, read_timeout: float = 20.0
    ) -> None:
        self.now = 1_000.0
        self.seconds = 0.0
        self.error: Exception | None = None
        self.valid_until: float | None = None
        self.in_advance: list[object] = []
        self.strong: list[bool] = []
        self.table = InMemoryReader(make_items(25), now=lambda: self.now)
        self.store = PageStore(store_bytes, lambda: self.now)
        self.generations = Generations(lambda: self.now)
        self.reader = CachingReader(
            self,
            self.store,
            self.generations,
            read_timeout,
            now=lambda: self.now,
            jitter=lambda: jitter,
        )

    async def read_page(self, plan: Plan, at: Cursor, limits: ReadOptions) -> Page:
        """Read as DynamoDB would: the data is that of the beginning."""
        self.strong.append(plan.consistent)
        if limits.surplus is not None:
            self.in_advance.append(limits.surplus.fetched)
        page = await self.table.read_page(plan, at, limits)
        try:
            async with asyncio.timeout_at(limits.hard_deadline):
                await asyncio.sleep(self.seconds)
        except TimeoutError:
            raise DeadlineExceeded("too late") from None
        if self.error is not None:
            raise self.error
        return page._replace(content=replace(page.content, valid_until=self.valid_until))

    async def get(self, plan: Plan = PLAN, at: Cursor = START, **limits: Any) -> Page:
        """Ask the cached reader for a page."""
        return await self.reader.read_page(plan, at, make_limits(**limits))

    @property
    def reads(self) -> int:
        """How often the table was read."""
        return len(self.table.calls)
