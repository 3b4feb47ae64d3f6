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
_USED_SHARE: Final = 4 / 5
_ENTRY_OVERHEAD: Final = 400  # bytes: the key, the dataclasses and the dict entries of one page


@dataclass(slots=True)
class TableCacheStats:
    """How the store is used, for one table: now, and since it was made.

    `evictions` are of pages that made room for others; `hits` and `misses` are its users' to count.
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

    def left(self, stored: CachedPage) -> None:
        """Count a page that is not stored any more."""
        self.pages -= 1
        self.bytes -= _size(stored)


@dataclass(frozen=True, slots=True)
class CachedPage:
    """A page, and until when it may be served.

    Until `expires`, a time of the store's clock, or as the table allows until `kept_until`; and as
    long as none of the generations that it was read under has moved. `tally` is that of the page's
    table, `key_bytes` what is large of the key that it is stored under.
    """

    content: PageContent
    expires: float
    kept_until: float
    generations: tuple[Generation, ...] = ()
    tally: TableCacheStats = field(default_factory=TableCacheStats)
    key_bytes: int = 0


class _Segment(LRUCache[Hashable, CachedPage]):
    """The pages, which count those that make room."""

    def popitem(self) -> tuple[Hashable, CachedPage]:
        key, stored = super().popitem()
        stored.tally.left(stored)
        stored.tally.evictions += 1
        return key, stored

    def oldest(self) -> tuple[Hashable, CachedPage]:
        """Take out the page that was used least recently."""
        return super().popitem()


class PageStore:
    """Keeps the most recently used pages that fit in `max_bytes`.

    Pages that nobody has asked for again make room first, so that a stream or scan through much
    does not push out what is in use; pages in use have up to `_USED_SHARE` for themselves.

    Expiry is in the entry, so that one store serves tables of different times to live. `now` gives
    seconds since the epoch.
    """

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._used = _Segment(max_bytes, getsizeof=_size)
        self._new = _Segment(max_bytes, getsizeof=_size)
        self._tallies: dict[str, TableCacheStats] = {}
        self._now = now

    @property
    def max_bytes(self) -> int:
        """The bound."""
        return self._max_bytes

    @property
    def bytes_used(self) -> int:
        """The size of what is stored."""
        return int(self._used.currsize + self._new.currsize)

    def __len__(self) -> int:
        return len(self._used) + len(self._new)

    def tally(self, table: str) -> TableCacheStats:
        """Return how the store is used for the table of a name."""
        try:
            return self._tallies[table]
        except KeyError:
            return self._tallies.setdefault(table, TableCacheStats())

    @property
    def tallies(self) -> Mapping[str, TableCacheStats]:
        """How the store is used, by table."""
        return self._tallies

    def get(self, key: Hashable) -> CachedPage | None:
        """Return the page stored under `key` unless it must not be served any more."""
        try:
            stored = self._used[key]  # `.get` of cachetools costs three times as much
        except KeyError:
            if key not in self._new:
                return None
            stored = self._promote(key)
        for generation in stored.generations:
            if generation.superseded:
                self._remove(key)
                return None
        if stored.kept_until <= self._now():
            self._remove(key)
            return None
        return stored

    def put(self, key: Hashable, stored: CachedPage) -> bool:
        """Store a page; return whether it was taken. A page never replaces one read after it."""
        pages = self._used if key in self._used else self._new
        known = self.get(key) if key in pages else None
        if known is not None and known.content.read_at > stored.content.read_at:
            return False
        if known is not None:
            self._remove(key)  # even if its successor does not fit: it is older than what was read
        size = _size(stored)
        if size > self._max_bytes * _LARGEST_SHARE:
            return False
        while self.bytes_used + size > self._max_bytes:
            (self._new or self._used).popitem()
        pages[key] = stored
        stored.tally.pages += 1
        stored.tally.bytes += size
        return True

    def _promote(self, key: Hashable) -> CachedPage:
        """Move a page that is asked for again to those in use, where the oldest may fall back."""
        stored = self._new.pop(key)
        self._used[key] = stored
        while self._used.currsize > self._max_bytes * _USED_SHARE:
            self._new.update((self._used.oldest(),))
        return stored

    def _remove(self, key: Hashable) -> None:
        stored = (self._used if key in self._used else self._new).pop(key)
        stored.tally.left(stored)


def _size(stored: CachedPage) -> int:
    content = stored.content
    position = 0 if content.next is None else sys.getsizeof(content.next)
    generations = sys.getsizeof(stored.generations)
    held = position + generations + stored.key_bytes
    return sys.getsizeof(content.items) + held + _ENTRY_OVERHEAD


def page_key(request: PageRead) -> PageKey:
    """Return the key under which the page of a request is stored."""
    return request.plan.cache_key, request.cursor, request.options.page_size
