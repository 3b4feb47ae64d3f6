"""The reader that fills both caches: the one of this replica and the one that replicas share."""

from __future__ import annotations

import hashlib
import random
import struct
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf
from typing import Final, Protocol

from dynamodb_processor_server.cache.freshness import Freshness
from dynamodb_processor_server.cache.page_store import CachedPage, PageStore
from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.cache.redis.encryption import ExpiringPage
from dynamodb_processor_server.cache.redis.shared_cache import FillLease, SharedLookup
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheMode,
    CacheStatus,
    Page,
    PageContent,
    PageEnd,
    PageRead,
    PageReader,
)
from dynamodb_processor_server.snapshot import GenerationSnapshot

# A page cut by one caller's budget is not stored: another caller did not ask for a short page.
_STORABLE: Final = frozenset({PageEnd.PAGE_FULL, PageEnd.EXHAUSTED, PageEnd.RESPONSE_BYTES})
_READ_AT: Final = struct.Struct(">d")
_JITTER: Final = 0.05  # a page lives up to this share shorter, so that pages do not expire at once


class SharedPages(Protocol):
    """The methods of `SharedPageCache` that fill it and read it."""

    async def find(self, lookup: SharedLookup) -> ExpiringPage | FillLease | None:
        """Return the page, or a lease to read and store it, or None."""
        ...

    def store(self, lease: FillLease, content: PageContent, expires: float) -> None:
        """Store a page that was read under a lease."""
        ...

    def release(self, lease: FillLease) -> None:
        """Let others read a page that will not be stored."""
        ...


class FillingReader:
    """Returns a page of the shared cache, or reads it; and stores it for the next callers.

    Every request carries the snapshot under which its read began. A page is stored only if that is
    still current, which the store checks, and past quarantine. `now` gives seconds since the epoch,
    `jitter` a number from 0 to 1.
    """

    def __init__(
        self,
        reader: PageReader,
        store: PageStore,
        quarantine: Quarantine,
        shared: SharedPages | None,
        freshness: Freshness,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._store = store
        self._quarantines = quarantine.by_lag
        self._freshness = freshness
        self._shared = shared
        self._now = now
        self._jitter = jitter

    async def read_page(self, request: PageRead) -> Page:
        """Return a page, and store it; see `PageReader`. Raises `not_cached` for ONLY_IF_CACHED.

        Items that were read ahead were not looked up in the shared cache before they were read, so
        a page of them is not stored there either.
        """
        only_if_cached = request.options.cache.mode is CacheMode.ONLY_IF_CACHED
        lease = None
        if self._shared is not None and request.read_ahead is None:
            lifetime = 0.0 if only_if_cached else request.plan.table.config.cache_ttl
            found = await self._shared.find(self._lookup(request, lifetime))
            if not isinstance(found, ExpiringPage):
                lease = found
            elif self._is_acceptable(request, found.content):
                return self._store_shared_page(request, found)
        if only_if_cached:
            raise not_cached()
        try:
            page = await self._reader.read_page(request)
            return self._store_page(request, page, lease)
        finally:
            if self._shared is not None and lease is not None:
                self._shared.release(lease)

    def _lookup(self, request: PageRead, lifetime: float) -> SharedLookup:
        """Return the look-up in the shared cache.

        REFRESH accepts no page of it, but stores one. Only a read that callers share waits for the
        same read of another replica.
        """
        plan, options = request.plan, request.options
        mode, staleness = options.cache.mode, options.cache.max_staleness
        oldest = -inf if staleness is None else self._now() - staleness
        if mode is CacheMode.REFRESH:
            oldest = inf
        is_bounded = options.cache.not_before is not None
        # A page that another replica is reading may be too old for a bound.
        waits = mode is CacheMode.DEFAULT and not (options.budget.is_limited or is_bounded)
        accepts = partial(self._shows, request) if is_bounded else None
        quarantine = self._quarantines[plan.lag]
        return SharedLookup(
            plan.cache_key,
            request.cursor,
            options.page_size,
            plan.tags,
            quarantine,
            oldest,
            lifetime,
            waits,
            accepts,
        )

    def _is_acceptable(self, request: PageRead, content: PageContent) -> bool:
        """Return whether a page is what the caller wants, now that it is here."""
        cache = request.options.cache
        max_age = cache.max_staleness
        is_young = max_age is None or self._now() - content.read_at <= max_age
        return is_young and (cache.not_before is None or self._shows(request, content))

    def _shows(self, request: PageRead, content: PageContent) -> bool:
        """Return whether a page of the shared cache shows the writes that the caller must see.

        It was found under generations that were current then. If an invalidation has arrived since,
        the page may lack a write that the stream consumer has dealt with.
        """
        plan = request.plan if _snapshot(request).is_current else None
        identified = self._identified(request, content)
        return self._freshness.shows(request.options.cache, identified, plan)

    def _identified(self, request: PageRead, content: PageContent) -> PageContent:
        """Return the content of a page of the shared cache with its digest."""
        return replace(content, digest=self._digest(request, content))

    def _digest(self, request: PageRead, content: PageContent) -> bytes:
        """Return the digest of a page: the same on each replica, and another for each read.

        Two reads of a hydrated page may have the same oldest item, and so the same time.
        """
        identity = (request.known_key or request.key) + _READ_AT.pack(content.read_at)
        if request.plan.hydration is not None:
            identity += content.items
        return hashlib.blake2b(identity, digest_size=16).digest()

    def _store_page(self, request: PageRead, page: Page, lease: FillLease | None) -> Page:
        """Store a page just read, if it may be, and give it the time until it expires."""
        read = page.content
        content = PageContent(
            read.items,
            read.count,
            read.next,
            read.end,
            read.read_at,
            read.valid_until,
            # If items were read ahead, they were read as this plan reads; see `CoalescingReader`.
            read.read_at - self._quarantines[request.plan.lag],
            self._now(),
            self._digest(request, read),
        )
        expires = self._expiry(request, content)
        if expires is not None:
            if self._shared is not None and lease is not None and _snapshot(request).is_current:
                self._shared.store(lease, content, expires)
            if not self._put(request, content, expires):
                expires = None
        now = self._now()
        left = None if expires is None else max(0.0, expires - now)
        # Some of its items may come from the cache of items.
        age = max(0.0, now - read.read_at) if page.age else 0.0
        return Page(content, page.usage, CacheStatus.MISS, age, left, page.read_ahead)

    def _expiry(self, request: PageRead, content: PageContent) -> float | None:
        """Return when a page just read expires, None if it may not be stored."""
        if content.end not in _STORABLE:
            return None
        snapshot = _snapshot(request)
        was_invalidated = snapshot.invalidated > -inf
        if was_invalidated and not snapshot.is_past_quarantine(self._quarantines[request.plan.lag]):
            return None
        lifetime = request.plan.table.config.cache_ttl * (1 - _JITTER * self._jitter())
        valid_until = inf if content.valid_until is None else content.valid_until
        expires = min(content.read_at + lifetime, valid_until)
        return expires if expires > self._now() else None

    def _store_shared_page(self, request: PageRead, page: ExpiringPage) -> Page:
        """Store a page of the shared cache, if the snapshot is still current.

        It need not be past quarantine: the replica that read the page saw to that.
        """
        content = self._identified(request, page.content)
        self._put(request, content, page.expires)
        now = self._now()
        age = max(0.0, now - content.read_at)
        left = max(0.0, page.expires - now)
        return Page(content, NO_USAGE, CacheStatus.SHARED_HIT, age, left)

    def _put(self, request: PageRead, content: PageContent, expires: float) -> bool:
        table = request.plan.table
        grace = max(table.config.stale_while_revalidate, table.config.stale_if_error)
        kept_until = expires
        if grace:
            valid_until = inf if content.valid_until is None else content.valid_until
            kept_until = min(expires + grace, valid_until)
        generations = _snapshot(request).generations
        stats, key_bytes = self._store.stats(table.name), len(request.cursor)
        cached = CachedPage(content, expires, kept_until, generations, stats, key_bytes)
        return self._store.put(request.known_key or request.key, cached)


def not_cached() -> PreconditionFailed:
    """Return the error of ONLY_IF_CACHED for a page that is not cached."""
    return PreconditionFailed(
        "NOT_CACHED", "cache.mode", "the page is not cached, and ONLY_IF_CACHED reads nothing"
    )


def _snapshot(request: PageRead) -> GenerationSnapshot:
    assert request.snapshot is not None, "the read has not begun"
    return request.snapshot
