"""The Reader that answers from the page store where it may."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from math import inf
from typing import Final

from dynamodb_processor_server.caching.flights import Flights
from dynamodb_processor_server.caching.generations import Generations, Reading
from dynamodb_processor_server.caching.pages import PageStore, StoredPage
from dynamodb_processor_server.caching.tags import tags_of
from dynamodb_processor_server.catalog.schema import PathKind
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
    Surplus,
)

# Pages cut by one caller's budget are not what another one asks for.
_STORABLE: Final = frozenset({PageEnd.PAGE_FULL, PageEnd.EXHAUSTED, PageEnd.RESPONSE_BYTES})
_JITTER: Final = 0.05  # a page lives up to this share shorter, so that pages do not expire at once


@dataclass(frozen=True, slots=True)
class Quarantine:
    """For how many seconds after an invalidation reads are not stored.

    They are eventually consistent and may still show what was there before the write. `index` is
    for global indexes, which follow their table with a delay.
    """

    table: float = 2.0
    index: float = 10.0

    def of(self, plan: Plan) -> float:
        """Return the seconds for a plan's path."""
        return self.index if plan.path.kind is PathKind.GLOBAL else self.table


DEFAULT_QUARANTINE: Final = Quarantine()


class CachedReader:
    """Keeps pages for their table's time to live, and lets concurrent misses share one read.

    A page is stored only if no tag of it has moved since its read began, and served only if none
    has moved since. A shared read is bounded by `read_timeout` seconds of its own; a caller's
    deadline bounds only that caller's wait. `now` gives seconds since the epoch, `jitter` a number
    from 0 to 1.
    """

    def __init__(
        self,
        reader: Reader,
        store: PageStore,
        generations: Generations,
        read_timeout: float,
        quarantine: Quarantine = DEFAULT_QUARANTINE,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._store = store
        self._generations = generations
        self._quarantine = quarantine
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
            self._store.tally(plan.table.name).misses += 1
            if mode is CacheMode.ONLY_IF_CACHED:
                raise _not_cached()
        reading = self._begin(plan, limits)
        if mode is CacheMode.REFRESH or limits.budgeted:
            page = await self._reader.fetch_page(plan, at, limits)
            return self._keep(key, plan, reading, page)
        return await self._share(key, plan, reading, at, limits)

    def _begin(self, plan: Plan, limits: Limits) -> Reading:
        """Return what a read of a plan is begun under.

        What its call has read in advance is part of the read if it was read under the same, and
        thrown away if not.
        """
        reading = self._generations.begin(tags_of(plan))
        surplus = limits.surplus
        if surplus is None:
            return reading
        if surplus.fetched is not None:
            earlier = surplus.read_under
            if isinstance(earlier, Reading) and earlier.generations == reading.generations:
                return earlier
            surplus.fetched = None
        surplus.read_under = reading
        return reading

    def _stored(self, key: Hashable, policy: CachePolicy) -> Page | None:
        stored = self._store.get(key)
        if stored is None:
            return None
        now = self._now()
        age = max(0.0, now - stored.content.read_at)
        if policy.max_staleness is not None and age > policy.max_staleness:
            return None
        stored.tally.hits += 1
        return Page(stored.content, NO_USAGE, CacheStatus.HIT, age, stored.expires - now)

    async def _share(
        self, key: Hashable, plan: Plan, reading: Reading, at: Position, limits: Limits
    ) -> Page:
        """Read a page together with all who want it under the same generations.

        Whoever asks when the quarantine is over does not join those who asked before.
        """
        flight = (key, reading.generations, reading.settled(self._quarantine.of(plan)))
        now = asyncio.get_running_loop().time()
        staleness = limits.cache.max_staleness
        if self._flights.joinable(flight, -inf if staleness is None else now - staleness):
            page = await self._flights.join(flight, limits)
            return replace(page, usage=NO_USAGE, status=CacheStatus.COALESCED)
        until = now + self._read_timeout
        # The flight's own, as it may outlast its caller's interest.
        ahead = None if limits.surplus is None else Surplus()

        async def read(progress: Progress) -> Page:
            own = Limits(limits.page_size, until, until, progress=progress, surplus=ahead)
            try:
                page = await self._reader.fetch_page(plan, at, own)
            except DeadlineExceeded:  # the flight's, which is none of the callers'
                raise BackendUnavailable(f"{plan.table.name} answers too slowly") from None
            return self._keep(key, plan, reading, page)

        began = now
        if ahead is not None and limits.surplus is not None:
            began = now if limits.surplus.fetched is None else -inf
            ahead.take(limits.surplus)
        self._flights.start(flight, read, began)
        page = await self._flights.join(flight, limits)
        if ahead is not None and limits.surplus is not None:
            limits.surplus.take(ahead)
        return replace(page, status=CacheStatus.MISS)

    def _keep(self, key: Hashable, plan: Plan, reading: Reading, page: Page) -> Page:
        """Store a page just read, if it may be, and say so on it."""
        page = replace(page, status=CacheStatus.MISS)
        if not (
            page.content.end in _STORABLE
            and reading.intact
            and reading.settled(self._quarantine.of(plan))
        ):
            return page
        lifetime = plan.table.declaration.cache_ttl * (1 - _JITTER * self._jitter())
        expires = page.content.read_at + lifetime
        tally = self._store.tally(plan.table.name)
        stored = StoredPage(page.content, expires, reading.generations, tally)
        if not self._store.put(key, stored):
            return page
        return replace(page, expires_in=max(0.0, expires - self._now()))


def _not_cached() -> PreconditionFailed:
    return PreconditionFailed(
        "NOT_CACHED", "cache.mode", "the page is not cached, and ONLY_IF_CACHED reads nothing"
    )
