"""The in-process page store, bounded in bytes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Final

from cachetools import LRUCache

from dynamodb_processor_server.caching.generations import Generation
from dynamodb_processor_server.reading.port import PageContent

# A page larger than this share of the store is not kept: it would push out too much else.
_LARGEST_SHARE: Final = 1 / 8
_ENTRY_OVERHEAD: Final = 400  # bytes: the key, the dataclasses and the dict entries of one page


@dataclass(frozen=True, slots=True)
class StoredPage:
    """A page, and until when it may be served.

    Until `expires`, a time of the store's clock, and as long as none of the generations that it was
    read under has moved.
    """

    content: PageContent
    expires: float
    generations: tuple[Generation, ...] = ()


class PageStore:
    """Keeps the most recently used pages that fit in `max_bytes`.

    Expiry is in the entry, so that one store serves tables of different times to live. `now` gives
    seconds since the epoch.
    """

    def __init__(self, max_bytes: int, now: Callable[[], float]) -> None:
        self._pages: LRUCache[Hashable, StoredPage] = LRUCache(max_bytes, getsizeof=_size)
        self._now = now

    @property
    def bytes_used(self) -> int:
        """The size of what is stored."""
        return int(self._pages.currsize)

    def __len__(self) -> int:
        return len(self._pages)

    def get(self, key: Hashable) -> StoredPage | None:
        """Return the page stored under `key` unless it must not be served any more."""
        try:
            stored = self._pages[key]  # `.get` of cachetools costs three times as much
        except KeyError:
            return None
        for generation in stored.generations:
            if generation.moved:
                del self._pages[key]
                return None
        if stored.expires <= self._now():
            del self._pages[key]
            return None
        return stored

    def put(self, key: Hashable, stored: StoredPage) -> bool:
        """Store a page; return whether it was taken. A page never replaces one read after it."""
        known = self.get(key)
        if known is not None and known.content.read_at > stored.content.read_at:
            return False
        if _size(stored) > self._pages.maxsize * _LARGEST_SHARE:
            self._pages.pop(key, None)  # what it would have replaced is older than what was read
            return False
        self._pages[key] = stored
        return True


def _size(stored: StoredPage) -> int:
    content = stored.content
    position = 0 if content.next is None else sys.getsizeof(content.next)
    generations = sys.getsizeof(stored.generations)
    return sys.getsizeof(content.items) + position + generations + _ENTRY_OVERHEAD
