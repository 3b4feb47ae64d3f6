"""The Reader that answers from the page store where it may."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Hashable
from dataclasses import replace
from typing import Final

from dynamodb_processor_server.caching.flights import Flights
from dynamodb_processor_server.caching.pages import PageStore
from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    PreconditionFailed,
)
from dynamodb_processor_server.query.plan import Plan
from dynamodb_processor_server.reading.port import (
    NO_USAGE,
    CacheMode,
    CachePolicy,
    CacheStatus,
    Limits,
    Page,
    PageEnd,
    Position,
    Progress,
    Reader,
)

# Pages cut by one caller's budget are not what another one asks for.
_STORABLE: Final = frozenset({PageEnd.PAGE_FULL, PageEnd.EXHAUSTED, PageEnd.RESPONSE_BYTES})
_JITTER: Final = 0.05  # a page lives up to this share shorter, so that pages do not expire at once


class CachedReader:
    """Keeps pages for their table's time to live, and lets concurrent misses share one read.

    A shared read is bounded by `read_timeout` seconds of its own; a caller's deadline bounds only
    that caller's wait. `now` gives seconds since the epoch, `jitter` a number from 0 to 1.
    """

    def __init__(
        self,
        reader: Reader,
        store: PageStore,
        read_timeout: float,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._store = store
        self._flights = Flights()
        self._read_timeout = read_timeout
        self._now = now
        self._jitter = jitter

    async def fetch_page(self, plan: Plan, at: Position, limits: Limits) -> Page:
        """Return the page that begins at `at`, from the store if the caller and the table allow."""
        mode = limits.cache.mode
        if mode is CacheMode.BYPASS or plan.strong or not plan.table.declaration.cache_ttl:
            if mode is CacheMode.ONLY_IF_CACHED:
                raise _not_cached()
            return await self._reader.fetch_page(plan, at, limits)
        key = (plan.cache_key, at, limits.page_size)
        if mode is not CacheMode.REFRESH:
            page = self._stored(key, limits.cache)
            if page is not None:
                return page
            if mode is CacheMode.ONLY_IF_CACHED:
                raise _not_cached()
        if mode is CacheMode.REFRESH or limits.budgeted:
            return self._keep(key, plan, await self._reader.fetch_page(plan, at, limits))
        return await self._share(key, plan, at, limits)

    def _stored(self, key: Hashable, policy: CachePolicy) -> Page | None:
        stored = self._store.get(key)
        if stored is None:
            return None
        now = self._now()
        age = max(0.0, now - stored.content.read_at)
        if policy.max_staleness is not None and age > policy.max_staleness:
            return None
        return Page(stored.content, NO_USAGE, CacheStatus.HIT, age, stored.expires - now)

    async def _share(self, key: Hashable, plan: Plan, at: Position, limits: Limits) -> Page:
        now = asyncio.get_running_loop().time()
        staleness = limits.cache.max_staleness
        oldest = float("-inf") if staleness is None else now - staleness
        joined = self._flights.joinable(key, oldest)
        if not joined:
            until = now + self._read_timeout

            async def read(progress: Progress) -> Page:
                own = Limits(
                    limits.page_size, until, until, progress=progress, surplus=limits.surplus
                )
                try:
                    page = await self._reader.fetch_page(plan, at, own)
                except DeadlineExceeded:  # the flight's, which is none of the callers'
                    raise BackendUnavailable(f"{plan.table.name} answers too slowly") from None
                return self._keep(key, plan, page)

            self._flights.start(key, read)
        page = await self._flights.join(key, limits)
        if joined:
            return replace(page, usage=NO_USAGE, status=CacheStatus.COALESCED)
        return replace(page, status=CacheStatus.MISS)

    def _keep(self, key: Hashable, plan: Plan, page: Page) -> Page:
        """Store a page just read, if it may be, and say so on it."""
        page = replace(page, status=CacheStatus.MISS)
        if page.content.end not in _STORABLE:
            return page
        lifetime = plan.table.declaration.cache_ttl * (1 - _JITTER * self._jitter())
        expires = page.content.read_at + lifetime
        if not self._store.put(key, page.content, expires):
            return page
        return replace(page, expires_in=max(0.0, expires - self._now()))


def _not_cached() -> PreconditionFailed:
    return PreconditionFailed(
        "NOT_CACHED", "cache.mode", "the page is not cached, and ONLY_IF_CACHED reads nothing"
    )
