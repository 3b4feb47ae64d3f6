"""A table that an index shows in part, with caches of pages and items, and a clock set by hand."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import cast

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.item_refresh import ItemChange, ItemRefresh
from dynamodb_processor_server.cache.page_store import PageStore, TableCacheStats
from dynamodb_processor_server.cache.reader import cached_reader
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.dynamodb.reader import DynamoDBReader
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.query.planning.tags import tags_of_partitions
from dynamodb_processor_server.reader import (
    DEFAULT_CACHE_POLICY,
    START,
    CachePolicy,
    Cursor,
    Page,
)
from tests.support.reads import CALLER, make_options, make_read
from tests.unit.dynamodb.hydrated_pages import OPEN
from tests.unit.dynamodb.lagging_index import LaggingIndex


class HydratingTable:
    """Jobs with an index of them; see `LaggingIndex`.

    `pages` reads pages through the cache of items only, `reader` through both caches, and `plain`
    without a cache. Writes until `followed` are known to have reached the cached items.
    """

    def __init__(self, shown: Iterable[WireItem]) -> None:
        self.now = 1_000.0
        self.followed = -inf
        self.index = LaggingIndex(list(shown))
        backend = Backend(cast("Clients", self.index), jitter=lambda: 1.0)
        self.store = PageStore(1_000_000, self._now)
        self.generations = Generations(self._now)
        self.cache = ItemCache(
            self.store,
            self.generations,
            exact_message,
            decode_item,
            now=self._now,
            jitter=lambda: 0.0,
            followed_until=lambda _: self.followed,
        )
        self.items = CachingItemReader(DynamoDBItemReader(backend, self._now), self.cache, wait=2.0)
        self.plain = DynamoDBReader(backend, 1_000_000, self._now)
        self.pages = DynamoDBReader(backend, 1_000_000, self._now, cached_items=self.items)
        self.reader = cached_reader(
            self.pages, self.store, self.generations, 20.0, now=self._now, jitter=lambda: 0.0
        )
        self._refreshes = ItemRefresh(self.cache)

    async def page(
        self,
        plan: Plan = OPEN,
        *,
        cache: CachePolicy = DEFAULT_CACHE_POLICY,
        at: Cursor = START,
        size: int = 100,
    ) -> Page:
        """Return a page that was made with cached items, but is not cached itself."""
        return await self.pages.read_page(make_read(plan, at, size, cache=cache))

    async def get(self, *names: str) -> BatchGetResult:
        """Get jobs by their names, as a batch does."""
        keys = tuple({"job": {"S": name}} for name in names)
        request = BatchGetRequest(OPEN.table, keys, *build_batch((), OPEN.table), consistent=False)
        return await self.items.get_items(request, make_options(), CALLER)

    def record(self, name: str, sequence: int) -> None:
        """Take the stream record of a job's last write into account."""
        change = ItemChange({"job": {"S": name}}, self.index.held(name), sequence, self.now)
        prepared = self._refreshes.prepare(OPEN.table, [change])
        pages = tags_of_partitions(OPEN.table.schema.identity, [])
        self.generations.invalidate((*pages, *prepared.tags))
        self._refreshes.commit(prepared)

    def gets(self) -> list[str]:
        """Return the names of the jobs that were read since the last call, sorted."""
        names = sorted(name for request in self.index.gets for name in request)
        self.index.gets.clear()
        return names

    @property
    def stats(self) -> TableCacheStats:
        """The use of the store."""
        return self.store.stats("jobs")

    def _now(self) -> float:
        return self.now
