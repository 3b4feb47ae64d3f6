"""The Reader that answers from the page store where it may."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from math import inf
from typing import Any, Final

from dynamodb_processor_server.caching.flights import Flights
from dynamodb_processor_server.caching.generations import Generations, Reading
from dynamodb_processor_server.caching.pages import PageStore, StoredPage
from dynamodb_processor_server.caching.tags import tags_of
from dynamodb_processor_server.catalog.schema import PathKind
from dynamodb_processor_server.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    Overloaded,
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
_MAX_REVALIDATING: Final = 20  # at once; nobody waits for these reads


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
        self._revalidating = 0
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
        declaration = plan.table.declaration
        key = (plan.cache_key, at, limits.page_size)
        if mode is not CacheMode.REFRESH:
            page = self._stored(key, limits.cache, declaration.stale_while_revalidate)
            if page is not None:
                if page.status is CacheStatus.STALE and mode is CacheMode.DEFAULT:
                    self._revalidate(key, plan, at, limits.page_size)
                return page
            self._store.tally(plan.table.name).misses += 1
            if mode is CacheMode.ONLY_IF_CACHED:
                raise _not_cached()
        reading = self._begin(plan, limits)
        try:
            if mode is CacheMode.REFRESH or limits.budgeted:
                page = await self._reader.fetch_page(plan, at, limits)
                return self._keep(key, plan, reading, page)
            return await self._share(key, plan, reading, at, limits)
        except (BackendUnavailable, DeadlineExceeded, Overloaded):
            stale = self._stored(key, limits.cache, declaration.stale_if_error)
            if stale is None or mode is CacheMode.REFRESH:
                raise
            return stale

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._flights.close()

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

    def _stored(self, key: Hashable, policy: CachePolicy, grace: float) -> Page | None:
        """Return what is stored, if it expired no more than `grace` seconds ago."""
        stored = self._store.get(key)
        if stored is None:
            return None
        now = self._now()
        age = max(0.0, now - stored.content.read_at)
        if policy.max_staleness is not None and age > policy.max_staleness:
            return None
        left = stored.expires - now
        if left <= -grace:
            return None
        stored.tally.hits += 1
        if left > 0:
            return Page(stored.content, NO_USAGE, CacheStatus.HIT, age, left)
        return Page(stored.content, NO_USAGE, CacheStatus.STALE, age)

    async def _share(
        self,
        key: Hashable,
        plan: Plan,
        reading: Reading,
        at: Position,
        limits: Limits,
        *,
        again: bool = False,
    ) -> Page:
        """Read a page together with all who want it under the same generations.

        Whoever asks when the quarantine is over does not join those who asked before. A read that
        was refused a place is asked for once more by each who joined it, together if they may.
        """
        flight = self._flight(key, plan, reading)
        now = asyncio.get_running_loop().time()
        staleness = limits.cache.max_staleness
        if self._flights.joinable(flight, -inf if staleness is None else now - staleness):
            try:
                page = await self._flights.join(flight, limits)
            except Overloaded:
                # The turn was another principal's, who may have been refused for its own load.
                if not again:
                    return await self._share(key, plan, reading, at, limits, again=True)
                raise
            return page._replace(usage=NO_USAGE, status=CacheStatus.COALESCED)
        began = now
        ahead = None
        if limits.surplus is not None:
            # The flight's own, as it may outlast its caller's interest.
            ahead = Surplus()
            began = now if limits.surplus.fetched is None else -inf
            ahead.take(limits.surplus)
        read = self._reading(key, plan, reading, at, limits.page_size, ahead)
        self._flights.start(flight, read, began)
        page = await self._flights.join(flight, limits)
        if ahead is not None and limits.surplus is not None:
            limits.surplus.take(ahead)
        return page._replace(status=CacheStatus.MISS)

    def _revalidate(self, key: Hashable, plan: Plan, at: Position, page_size: int) -> None:
        """Read a page again for those who will ask for it next, unless many are being read so."""
        reading = self._generations.begin(tags_of(plan))
        flight = self._flight(key, plan, reading)
        if self._flights.joinable(flight, -inf) or self._revalidating >= _MAX_REVALIDATING:
            return
        read = self._reading(key, plan, reading, at, page_size, None)

        async def revalidate(progress: Progress) -> Page:
            try:
                return await read(progress)
            finally:
                self._revalidating -= 1

        self._revalidating += 1
        now = asyncio.get_running_loop().time()
        self._flights.start(flight, revalidate, now, attended=False)

    def _flight(self, key: Hashable, plan: Plan, reading: Reading) -> Hashable:
        return key, reading.generations, reading.settled(self._quarantine.of(plan))

    def _reading(
        self,
        key: Hashable,
        plan: Plan,
        reading: Reading,
        at: Position,
        page_size: int,
        ahead: Surplus | None,
    ) -> Callable[[Progress], Coroutine[Any, Any, Page]]:
        """Return a read that is bounded for itself and stored for all."""
        until = asyncio.get_running_loop().time() + self._read_timeout

        async def read(progress: Progress) -> Page:
            own = Limits(page_size, until, until, progress=progress, surplus=ahead)
            try:
                page = await self._reader.fetch_page(plan, at, own)
            except DeadlineExceeded:  # the flight's, which is none of the callers'
                raise BackendUnavailable(f"{plan.table.name} answers too slowly") from None
            return self._keep(key, plan, reading, page)

        return read

    def _keep(self, key: Hashable, plan: Plan, reading: Reading, page: Page) -> Page:
        """Store a page just read, if it may be, and say so on it."""
        page = page._replace(status=CacheStatus.MISS)
        if not (
            page.content.end in _STORABLE
            and reading.intact
            and reading.settled(self._quarantine.of(plan))
        ):
            return page
        declaration = plan.table.declaration
        lifetime = declaration.cache_ttl * (1 - _JITTER * self._jitter())
        last = inf if page.content.valid_until is None else page.content.valid_until
        expires = min(page.content.read_at + lifetime, last)
        grace = max(declaration.stale_while_revalidate, declaration.stale_if_error)
        if expires <= self._now():
            return page
        kept_until = min(expires + grace, last)
        tally = self._store.tally(plan.table.name)
        stored = StoredPage(page.content, expires, kept_until, reading.generations, tally)
        if not self._store.put(key, stored):
            return page
        return page._replace(expires_in=max(0.0, expires - self._now()))


def _not_cached() -> PreconditionFailed:
    return PreconditionFailed(
        "NOT_CACHED", "cache.mode", "the page is not cached, and ONLY_IF_CACHED reads nothing"
    )
