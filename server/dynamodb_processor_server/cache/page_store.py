"""The in-process store of pages and single items, bounded in bytes."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

from dynamodb_processor_server.reader import PageContent
from dynamodb_processor_server.snapshot import Generation

# A page larger than this share of the store is not kept: it would push out too much else.
_LARGEST_SHARE: Final = 1 / 8
_PROTECTED_SHARE: Final = 4 / 5
# Bytes beside the items and the cursors: the key, the dataclasses, the generation of a partition,
# and the entries of two dicts, which have room for more. Measured: 600 to 800 a page.
_ENTRY_OVERHEAD: Final = 800


@dataclass(slots=True)
class TableCacheStats:
    """The use of the store by one table: now, and since it was made.

    `evictions` are of pages and items that made room for others. The readers count `hits` and
    `misses` of pages, and those of single items. `item_refreshes` are items that a stream record
    has replaced.
    """

    pages: int = 0
    bytes: int = 0
    hits: int = 0
    misses: int = 0
    evictions: int = 0
    items: int = 0
    item_hits: int = 0
    item_misses: int = 0
    item_refreshes: int = 0

    def __add__(self, other: TableCacheStats) -> TableCacheStats:
        return TableCacheStats(
            *(getattr(self, name) + getattr(other, name) for name in self.__slots__)
        )

    def count(self, entry: CacheEntry, by: int) -> None:
        """Count an entry that is stored now, or with `by` = -1 one that is not any more."""
        if entry.is_item:
            self.items += by
        else:
            self.pages += by
        self.bytes += by * entry.size


class ReadContent(Protocol):
    """The data of an entry."""

    @property
    def read_at(self) -> float:
        """When it was read, in seconds since the epoch."""


class CacheEntry(Protocol):
    """A page or a single item as it is stored, with the times until which it may be served."""

    is_item: ClassVar[bool]

    @property
    def content(self) -> ReadContent:
        """The data."""

    @property
    def kept_until(self) -> float:
        """When it is dropped, in seconds since the epoch."""

    @property
    def generations(self) -> tuple[Generation, ...]:
        """The generations under which it was read."""

    @property
    def stats(self) -> TableCacheStats:
        """The statistics of its table."""

    @property
    def size(self) -> int:
        """Approximate bytes of memory."""


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A page with the times until which it may be served.

    It is served until `expires`, a time of the store's clock, or as the table allows until
    `kept_until`; and as long as none of its generations is superseded. `stats` are those of the
    page's table, `key_bytes` is the size of the cursor in its key.
    """

    is_item: ClassVar = False

    content: PageContent
    expires: float
    kept_until: float
    generations: tuple[Generation, ...] = ()
    stats: TableCacheStats = field(default_factory=TableCacheStats)
    key_bytes: int = 0

    @property
    def size(self) -> int:
        """Approximate bytes of memory."""
        content = self.content
        cursor = 0 if content.next is None else sys.getsizeof(content.next)
        others = cursor + sys.getsizeof(self.generations) + self.key_bytes
        return sys.getsizeof(content.items) + others + _ENTRY_OVERHEAD


class _Segment:
    """One segment of the store: `pages`, least recently used first, and their `size` in bytes."""

    __slots__ = ("pages", "size")

    def __init__(self) -> None:
        self.pages: OrderedDict[Hashable, CacheEntry] = OrderedDict()
        self.size = 0

    def add(self, key: Hashable, page: CacheEntry) -> None:
        """Add a page as the one that was used most recently."""
        self.pages[key] = page
        self.size += page.size

    def remove(self, key: Hashable) -> CacheEntry:
        """Take a page out."""
        page = self.pages.pop(key)
        self.size -= page.size
        return page

    def remove_oldest(self) -> tuple[Hashable, CacheEntry]:
        """Take out the page that was used least recently; return it with its key."""
        key, page = self.pages.popitem(last=False)
        self.size -= page.size
        return key, page


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
        self._protected = _Segment()
        self._probation = _Segment()
        self._stats: dict[str, TableCacheStats] = {}
        self._now = now

    @property
    def max_bytes(self) -> int:
        """The bound."""
        return self._max_bytes

    @property
    def bytes_used(self) -> int:
        """The size of all stored pages."""
        return self._protected.size + self._probation.size

    def __len__(self) -> int:
        return len(self._protected.pages) + len(self._probation.pages)

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

    def get(self, key: Hashable) -> Any:
        """Return the page or item stored under `key`, None if it must not be served any more."""
        protected = self._protected.pages
        page = protected.get(key)
        if page is not None:
            protected.move_to_end(key)
        elif key in self._probation.pages:
            page = self._promote(key)
        else:
            return None
        for generation in page.generations:
            if generation.superseded:
                self._remove(key)
                return None
        if page.kept_until <= self._now():
            self._remove(key)
            return None
        return page

    def get_all(self, keys: Iterable[Hashable]) -> list[Any] | None:
        """Return what is stored under all of some keys, as `get` does; None if one is missing.

        For many keys this takes a third of the time of as many calls.
        """
        protected, now, found = self._protected.pages, self._now(), []
        for key in keys:
            entry = protected.get(key)
            if entry is None:
                entry = self.get(key)
                if entry is None:
                    return None
            else:
                if entry.kept_until <= now:
                    return None
                for generation in entry.generations:
                    if generation.superseded:
                        return None
                protected.move_to_end(key)
            found.append(entry)
        return found

    def peek(self, key: Hashable) -> Any:
        """Return what `get` would return, without noting that it is used."""
        page = self._segment_of(key).pages.get(key)
        if page is None or any(generation.superseded for generation in page.generations):
            return None
        return page if page.kept_until > self._now() else None

    def put(self, key: Hashable, page: CacheEntry) -> bool:
        """Store a page; return whether it was stored.

        A page of which a generation is superseded is not stored: its tag was invalidated after the
        read began. A page never replaces one read after it.
        """
        for generation in page.generations:
            if generation.superseded:
                return False
        segment = self._segment_of(key)
        known = self.get(key) if key in segment.pages else None
        if known is not None and known.content.read_at > page.content.read_at:
            return False
        if known is not None:
            self._remove(key)  # even if its successor does not fit: it is the older one
        size = page.size
        if size > self._max_bytes * _LARGEST_SHARE:
            return False
        while self.bytes_used + size > self._max_bytes:
            self._evict()
        segment.add(key, page)
        page.stats.count(page, 1)
        return True

    def _segment_of(self, key: Hashable) -> _Segment:
        return self._protected if key in self._protected.pages else self._probation

    def _promote(self, key: Hashable) -> CacheEntry:
        """Move a page to the protected segment, whose oldest pages may return to probation."""
        page = self._probation.remove(key)
        self._protected.add(key, page)
        while self._protected.size > self._max_bytes * _PROTECTED_SHARE:
            self._probation.add(*self._protected.remove_oldest())
        return page

    def _evict(self) -> None:
        segment = self._probation if self._probation.pages else self._protected
        _, page = segment.remove_oldest()
        page.stats.count(page, -1)
        page.stats.evictions += 1

    def _remove(self, key: Hashable) -> None:
        page = self._segment_of(key).remove(key)
        page.stats.count(page, -1)
