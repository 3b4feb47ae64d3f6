"""The in-process page store, bounded in bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from cachetools import LRUCache

from dynamodb_processor_server.reader import Cursor, PageContent, PageRead
from dynamodb_processor_server.snapshot import Generation

#: A plan's cache key, the cursor at which the page begins, and the page size.
PageKey: TypeAlias = tuple[bytes, Cursor, int]

# A page larger than this share of the store is not kept: it would push out too much else.
_LARGEST_SHARE: Final = 1 / 8
_PROTECTED_SHARE: Final = 4 / 5
# Bytes beside the items and the cursor: the key, the dataclasses, the generation of a partition,
# and the entries of four dicts, which have room for more. Measured: 700 to 1,100 a page.
_ENTRY_OVERHEAD: Final = 800


@dataclass(slots=True)
class TableCacheStats:
    """The use of the store by one table: now, and since it was made.

    `evictions` are of pages that made room for others. The readers count `hits` and `misses`.
    """

    pages: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0

    def __add__(self, other: TableCacheStats) -> TableCacheStats:
        return TableCacheStats(
            self.pages + other.pages,
            self.bytes + other.bytes,
            self.hits + other.hits,
            self.misses + other.misses,
            self.evictions + other.evictions,
        )

    def remove(self, page: CachedPage) -> None:
        """Count off a page that is not stored any more."""
        self.pages -= 1
        self.bytes -= _size(page)


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A page with the times until which it may be served.

    It is served until `expires`, a time of the store's clock, or as the table allows until
    `kept_until`; and as long as none of its generations is superseded. `stats` are those of the
    page's table, `key_bytes` is the size of the cursor in its key.
    """

    content: PageContent
    expires: float
    kept_until: float
    generations: tuple[Generation, ...] = ()
    stats: TableCacheStats = field(default_factory=TableCacheStats)
    key_bytes: int = 0


class _Segment(LRUCache[Hashable, CachedPage]):
    """One segment of the store, which counts the pages that it evicts."""

    def popitem(self) -> tuple[Hashable, CachedPage]:
        key, page = super().popitem()
        page.stats.remove(page)
        page.stats.evictions += 1
        return key, page

    def oldest(self) -> tuple[Hashable, CachedPage]:
        """Take out the page that was used least recently."""
        return super().popitem()


class PageStore:
    """A segmented LRU cache of pages, of `max_bytes` in all.

    Pages that were requested once are in the probation segment, and are evicted first. A page that
    is requested again moves to the protected segment, which has up to `_PROTECTED_SHARE`. So a
    stream or scan through many pages does not evict the pages in use.

    Expiry is in the entry, so that one store serves tables of different times to live. `now` gives
    seconds since the epoch.
    """

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._protected = _Segment(max_bytes, getsizeof=_size)
        self._probation = _Segment(max_bytes, getsizeof=_size)
        self._stats: dict[str, TableCacheStats] = {}
        self._now = now

    @property
    def max_bytes(self) -> int:
        """The bound."""
        return self._max_bytes

    @property
    def bytes_used(self) -> int:
        """The size of all stored pages."""
        return int(self._protected.currsize + self._probation.currsize)

    def __len__(self) -> int:
        return len(self._protected) + len(self._probation)

    def stats(self, table: str) -> TableCacheStats:
        """Return the use of the store by the table of a name."""
        try:
            return self._stats[table]
        except KeyError:
            return self._stats.setdefault(table, TableCacheStats())

    @property
    def all_stats(self) -> Mapping[str, TableCacheStats]:
        """The use of the store, by table."""
        return self._stats

    def get(self, key: Hashable) -> CachedPage | None:
        """Return the page stored under `key` unless it must not be served any more."""
        try:
            page = self._protected[key]  # `.get` of cachetools costs three times as much
        except KeyError:
            if key not in self._probation:
                return None
            page = self._promote(key)
        for generation in page.generations:
            if generation.superseded:
                self._remove(key)
                return None
        if page.kept_until <= self._now():
            self._remove(key)
            return None
        return page

    def put(self, key: Hashable, page: CachedPage) -> bool:
        """Store a page; return whether it was stored. A page never replaces one read after it."""
        segment = self._protected if key in self._protected else self._probation
        known = self.get(key) if key in segment else None
        if known is not None and known.content.read_at > page.content.read_at:
            return False
        if known is not None:
            self._remove(key)  # even if its successor does not fit: it is the older one
        size = _size(page)
        if size > self._max_bytes * _LARGEST_SHARE:
            return False
        while self.bytes_used + size > self._max_bytes:
            (self._probation or self._protected).popitem()
        segment[key] = page
        page.stats.pages += 1
        page.stats.bytes += size
        return True

    def _promote(self, key: Hashable) -> CachedPage:
        """Move a page to the protected segment, whose oldest pages may return to probation."""
        page = self._probation.pop(key)
        self._protected[key] = page
        while self._protected.currsize > self._max_bytes * _PROTECTED_SHARE:
            self._probation.update((self._protected.oldest(),))
        return page

    def _remove(self, key: Hashable) -> None:
        page = (self._protected if key in self._protected else self._probation).pop(key)
        page.stats.remove(page)


def _size(page: CachedPage) -> int:
    content = page.content
    cursor = 0 if content.next is None else sys.getsizeof(content.next)
    others = cursor + sys.getsizeof(page.generations) + page.key_bytes
    return sys.getsizeof(content.items) + others + _ENTRY_OVERHEAD


def page_key(request: PageRead) -> PageKey:
    """Return the key under which the page of a request is stored."""
    return request.plan.cache_key, request.cursor, request.options.page_size
