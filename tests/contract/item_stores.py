"""The table of the contract tests behind each reader of single items."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from dynamodb_processor_server.batch_reader import BatchGetRequest, BatchGetResult, ItemReader
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.item_cache import ItemCache
from dynamodb_processor_server.cache.item_reader import CachingItemReader
from dynamodb_processor_server.cache.item_sharing import ItemSharing
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.redis.encryption import PageCipher
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.cache.redis.shared_items import SharedItemCache
from dynamodb_processor_server.catalog.schema import Table
from dynamodb_processor_server.dynamodb.backend import Backend
from dynamodb_processor_server.dynamodb.item_decoding import decode_item
from dynamodb_processor_server.dynamodb.item_encoding import exact_message
from dynamodb_processor_server.dynamodb.item_reader import DynamoDBItemReader
from dynamodb_processor_server.limits.admission import Admission, AdmissionItemReader
from dynamodb_processor_server.query.expression.parser import parse_expression, parse_path
from dynamodb_processor_server.query.expression.values import WireItem
from dynamodb_processor_server.query.page_token import TokenKey
from dynamodb_processor_server.query.planning.request_builder import build_batch
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.reader import CacheStatus
from dynamodb_processor_server.runtime.circuit_breaker import BreakerSettings, CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore
from tests.support.reads import CALLER, make_options
from tests.support.shared_cache import MemorySharedCache

#: The readers, and how each answers a get of items that can be cached.
STATUSES: Final = {
    "dynamodb": CacheStatus.BYPASSED,
    "admitted": CacheStatus.BYPASSED,
    "cold": CacheStatus.MISS,
    "warm": CacheStatus.HIT,
    "shared": CacheStatus.SHARED_HIT,
}
#: A reader and the one that fills its caches, if they are filled before each get.
_Readers = tuple[ItemReader, ItemReader | None]
_CIPHER: Final = PageCipher((TokenKey("one", bytes(range(32))),))
_TIMEOUT: Final = 60.0  # seconds for a command, which needs none
_YIELDS: Final = 20  # to the loop, in which commands in the background end


@dataclass(frozen=True, slots=True)
class ItemStore:
    """A reader of one table, whose caches another get has filled before, if it is to be so."""

    table: Table
    status: CacheStatus
    _readers: _Readers

    def request(
        self,
        keys: Sequence[WireItem],
        *,
        projection: Sequence[str] = (),
        rule: str = "",
        consistent: bool = False,
    ) -> BatchGetRequest:
        """Return the request for some items."""
        row_rule = RowRule(parse_expression(rule, {}), as_filter=True) if rule else None
        paths = tuple(map(parse_path, projection))
        parts = build_batch(paths, self.table, row_rule, consistent=consistent)
        return BatchGetRequest(self.table, tuple(keys), *parts, consistent, row_rule)

    async def fill(self, request: BatchGetRequest) -> None:
        """Read items into the caches, if they are to be filled."""
        _, filler = self._readers
        if filler is not None:
            await filler.get_items(request, make_options(), CALLER)
            for _ in range(_YIELDS):
                await asyncio.sleep(0)

    async def get(self, request: BatchGetRequest, **options: Any) -> BatchGetResult:
        """Get items; `options` are those of `make_options`."""
        return await self._readers[0].get_items(request, make_options(**options), CALLER)


@asynccontextmanager
async def open_item_store(kind: str, table: Table, backend: Backend) -> AsyncIterator[ItemStore]:
    """Open a reader of a table, of a kind of `STATUSES`."""
    items: ItemReader = DynamoDBItemReader(backend)
    async with AsyncExitStack() as stack:
        readers: _Readers = items, None
        if kind != "dynamodb":
            items = AdmissionItemReader(items, Admission(100, 0))
            readers = items, None
        if kind in ("cold", "warm"):
            cached = _cached(items, stack)
            readers = cached, (cached if kind == "warm" else None)
        if kind == "shared":
            store = MemorySharedCache(time.monotonic, Random(1))
            readers = await _sharing(items, store, stack), await _sharing(items, store, stack)
        yield ItemStore(table, STATUSES[kind], readers)


def _cached(items: ItemReader, stack: AsyncExitStack) -> CachingItemReader:
    cache = ItemCache(PageStore(10_000_000, time.time), Generations(), exact_message, decode_item)
    reader = CachingItemReader(items, cache, _TIMEOUT)
    stack.push_async_callback(reader.close)
    return reader


async def _sharing(
    items: ItemReader, store: MemorySharedCache, stack: AsyncExitStack
) -> CachingItemReader:
    """Return the reader of a replica that shares items, and for which time stands still."""
    opened = time.time()

    def now() -> float:
        return opened

    generations = Generations(now)
    log = InvalidationLogFollower(store, _CIPHER, generations, _TIMEOUT, now)
    guard = GuardedStore(CircuitBreaker(BreakerSettings(), now, lambda: 0.5), _TIMEOUT)
    pages = SharedPageCache(store, _CIPHER, log, guard, "bypass", now, lambda: 0.5)
    stack.push_async_callback(pages.close)
    cache = ItemCache(
        PageStore(10_000_000, time.time), generations, exact_message, decode_item, shared=pages
    )
    shared = SharedItemCache(store.items, _CIPHER, pages, generations, _TIMEOUT, now)
    reader = CachingItemReader(items, cache, _TIMEOUT, ItemSharing(shared, cache))
    stack.push_async_callback(reader.close)
    await log.poll()
    return reader
