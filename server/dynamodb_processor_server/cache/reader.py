"""The Reader that answers from the page store where it may."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Hashable
from math import inf
from typing import Any, Final

from dynamodb_processor_server.cache.coalescing import Flights
from dynamodb_processor_server.cache.fill import CacheFill, PageKey, not_cached
from dynamodb_processor_server.cache.generations import Generations, GenerationSnapshot
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import DEFAULT_QUARANTINE, Quarantine
from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheMode,
    CacheStatus,
    Cursor,
    Page,
    PageReader,
    PartialRead,
    ReadAheadBuffer,
    ReadOptions,
)

_MAX_REVALIDATING: Final = 20  # at once; nobody waits for these reads


class CachingReader:
    """Keeps pages for their table's time to live, and lets concurrent misses share one read.

    A page is stored only if no tag of it has moved since its read began, and served only if none
    has moved since. A shared read is bounded by `read_timeout` seconds of its own; a caller's
    deadline bounds only that caller's wait.

    With a `shared` tier, pages that are not stored here are looked for there first; and what is
    stored or under way here counts only while the tier's view of invalidations can be trusted.
    `now` gives seconds since the epoch, `jitter` a number from 0 to 1.
    """

    def __init__(
        self,
        reader: PageReader,
        store: PageStore,
        generations: Generations,
        read_timeout: float,
        quarantine: Quarantine = DEFAULT_QUARANTINE,
        shared: SharedPageCache | None = None,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._reader = reader
        self._store = store
        self._keeper = CacheFill(reader, store, generations, quarantine, shared, now, jitter)
        self._flights = Flights()
        self._revalidating = 0
        self._read_timeout = read_timeout

    async def read_page(self, plan: Plan, at: Cursor, limits: ReadOptions) -> Page:
        """Return the page that begins at `at`, from the store if the caller and the table allow."""
        mode = limits.cache.mode
        if _bypasses(plan, limits):
            if mode is CacheMode.ONLY_IF_CACHED:
                raise not_cached()
            return await self._reader.read_page(plan, at, limits)
        declaration = plan.table.config
        key = (plan.cache_key, at, limits.page_size)
        if mode is not CacheMode.REFRESH:
            page = self._keeper.lookup_local(key, limits.cache, declaration.stale_while_revalidate)
            if page is not None:
                if page.status is CacheStatus.STALE and mode is CacheMode.DEFAULT:
                    self._revalidate(key, plan)
                return page
            self._store.tally(plan.table.name).misses += 1
            if mode is CacheMode.ONLY_IF_CACHED:
                return await self._keeper.lookup_shared(key, plan, limits.cache)
        plan, reading = self._begin(plan, limits)
        age = -1.0 if mode is CacheMode.REFRESH else limits.cache.max_staleness
        try:
            if mode is CacheMode.REFRESH or limits.budgeted:
                return await self._keeper.read(key, plan, reading, limits, age, shared=False)
            return await self._read_coalesced(key, plan, reading, limits, age)
        except (BackendUnavailable, DeadlineExceeded, Overloaded):
            stale = self._keeper.lookup_local(key, limits.cache, declaration.stale_if_error)
            if stale is None or mode is CacheMode.REFRESH:
                raise
            return stale

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._flights.close()

    async def _read_coalesced(
        self,
        key: PageKey,
        plan: Plan,
        reading: GenerationSnapshot,
        limits: ReadOptions,
        age: float | None,
        *,
        again: bool = False,
    ) -> Page:
        """Read a page together with all who want it under the same generations.

        Whoever asks when the quarantine is over does not join those who asked before. While local
        generations cannot be trusted, only reads are joined that began when whatever was
        acknowledged by now had been told already. A read that was refused a place is asked for once
        more by each who joined it, together if they may. `age` is as for `CacheFill.read`.
        """
        flight = self._flight(key, plan, reading, age)
        now = asyncio.get_running_loop().time()
        staleness = limits.cache.max_staleness
        oldest = -inf if staleness is None else now - staleness
        if not self._keeper.invalidations_up_to_date:
            oldest = max(oldest, now - FRESH_SECONDS)
        if self._flights.can_join(flight, oldest):
            try:
                page = await self._flights.join(flight, limits)
            except Overloaded:
                # The turn was another principal's, who may have been refused for its own load.
                if not again:
                    return await self._read_coalesced(key, plan, reading, limits, age, again=True)
                raise
            page = page._replace(usage=NO_USAGE)
            status = CacheStatus.COALESCED
        else:
            page = await self._lead(flight, key, plan, reading, limits, age)
            status = CacheStatus.MISS
        if page.status is not CacheStatus.SHARED_HIT:
            return page._replace(status=status)
        if staleness is not None and page.age > staleness:
            # It was young enough for somebody else, or has aged on its way.
            return await self._read_coalesced(key, plan, reading, limits, -1.0)
        return page

    async def _lead(
        self,
        flight: Hashable,
        key: PageKey,
        plan: Plan,
        reading: GenerationSnapshot,
        limits: ReadOptions,
        age: float | None,
    ) -> Page:
        began = asyncio.get_running_loop().time()
        ahead = None
        if limits.surplus is not None:
            # The flight's own, as it may outlast its caller's interest.
            ahead = ReadAheadBuffer()
            began = began if limits.surplus.fetched is None else -inf
            ahead.move_from(limits.surplus)
        read = self._make_read(key, plan, reading, age, ahead)
        self._flights.start(flight, read, began)
        page = await self._flights.join(flight, limits)
        if ahead is not None and limits.surplus is not None:
            limits.surplus.move_from(ahead)
        return page

    def _revalidate(self, key: PageKey, plan: Plan) -> None:
        """Read a page again for those who will ask for it next, unless many are being read so."""
        plan, reading = self._begin(plan, None)
        flight = self._flight(key, plan, reading, None)
        if self._flights.can_join(flight, -inf) or self._revalidating >= _MAX_REVALIDATING:
            return
        read = self._make_read(key, plan, reading, None, None)

        async def revalidate(progress: PartialRead) -> Page:
            try:
                return await read(progress)
            finally:
                self._revalidating -= 1

        self._revalidating += 1
        now = asyncio.get_running_loop().time()
        self._flights.start(flight, revalidate, now, attended=False)

    def _begin(self, plan: Plan, limits: ReadOptions | None) -> tuple[Plan, GenerationSnapshot]:
        """Return how to read a plan, and what the read is begun under."""
        reading = self._keeper.begin(plan, limits)
        if limits is not None and limits.budgeted:
            return plan, reading  # the budget is for what was asked for
        return self._keeper.plan_for_fill(plan, reading), reading

    def _flight(
        self, key: PageKey, plan: Plan, reading: GenerationSnapshot, age: float | None
    ) -> Hashable:
        settled = self._keeper.is_past_quarantine(plan, reading)
        return key, reading.generations, settled, age if self._keeper.shares else None

    def _make_read(
        self,
        key: PageKey,
        plan: Plan,
        reading: GenerationSnapshot,
        age: float | None,
        ahead: ReadAheadBuffer | None,
    ) -> Callable[[PartialRead], Coroutine[Any, Any, Page]]:
        """Return a read that is bounded for itself and stored for all."""
        until = asyncio.get_running_loop().time() + self._read_timeout

        async def read(progress: PartialRead) -> Page:
            own = ReadOptions(key[2], until, until, progress=progress, surplus=ahead)
            try:
                return await self._keeper.read(key, plan, reading, own, age, shared=True)
            except DeadlineExceeded:  # the flight's, which is none of the callers'
                raise BackendUnavailable(f"{plan.table.name} is read too slowly") from None

        return read


def _bypasses(plan: Plan, limits: ReadOptions) -> bool:
    """Return whether a page is neither looked for in the cache nor stored.

    Under a row rule a budget of reads would tell whether a page was cached, and so whether anything
    was written that the rule hides: a stored page spends none of it.
    """
    return (
        limits.cache.mode is CacheMode.BYPASS
        or plan.consistent
        or not plan.table.config.cache_ttl
        or (plan.rule is not None and limits.meters_reads)
    )
