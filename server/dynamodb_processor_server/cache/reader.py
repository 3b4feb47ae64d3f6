"""The reader that answers from the page store of this replica where it may."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from dynamodb_processor_server.cache.coalescing import (
    DEFAULT_COALESCING_TIMEOUT,
    CoalescingReader,
)
from dynamodb_processor_server.cache.fill import FillingReader, not_cached
from dynamodb_processor_server.cache.freshness import Freshness, not_followed
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_store import PageStore
from dynamodb_processor_server.cache.quarantine import DEFAULT_QUARANTINE, Quarantine
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CacheMode,
    CachePolicy,
    CacheStatus,
    Page,
    PageKey,
    PageRead,
    PageReader,
    ReadOptions,
)

# Members of enumerations that every hit needs: Python looks them up in ten times as long.
_DEFAULT: Final = CacheMode.DEFAULT
_HIT: Final = CacheStatus.HIT
_new_page: Final = tuple.__new__


class CachingReader:
    """Returns pages of the local store, and has the others read by `misses`.

    A page is served only if none of its tags has been invalidated since its read began, and if it
    shows the writes that the caller must see. With a
    `shared` cache, local pages count only while all invalidations of other replicas have been
    received here. Reads that bypass the cache go to `uncached`. `now` gives seconds since the
    epoch.
    """

    def __init__(
        self,
        misses: CoalescingReader,
        uncached: PageReader,
        store: PageStore,
        freshness: Freshness,
        shared: SharedPageCache | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._misses = misses
        self._uncached = uncached
        self._store = store
        self._freshness = freshness
        self._shared = shared
        self._now = now

    def cached_page(self, key: PageKey, policy: CachePolicy) -> Page | None:
        """Return a page of the store that has not expired; see `PageLookup`.

        Without its plan, it is not known up to when the writes to its data were dealt with.
        """
        mode = policy.mode
        if mode is not _DEFAULT and mode is not CacheMode.ONLY_IF_CACHED:
            return None
        return self._find(key, policy, 0.0)

    async def read_page(self, request: PageRead) -> Page:
        """Return a page, from the store if the caller and the table allow; see `PageReader`."""
        plan, _, options = request[:3]  # faster than by name, twice
        policy = options.cache
        mode = policy.mode
        if _bypasses(plan, options):
            if mode is CacheMode.ONLY_IF_CACHED:
                raise not_cached()
            if policy.not_before is not None:
                request = request._replace(plan=self._freshness.planned(plan, policy))
            return await self._uncached.read_page(request)
        config = plan.table.config
        key = request.known_key or request.key
        if mode is not CacheMode.REFRESH:
            page = self._find(key, policy, config.stale_while_revalidate, plan)
            if page is not None:
                if page.status is CacheStatus.STALE and mode is CacheMode.DEFAULT:
                    self._misses.revalidate(request)
                return page
            self._store.stats(plan.table.name).misses += 1
        try:
            return await self._misses.read_page(request)
        except (BackendUnavailable, DeadlineExceeded, Overloaded):
            if mode is CacheMode.REFRESH:
                raise
            stale = self._find(key, policy, config.stale_if_error, plan)
            if stale is None:
                raise
            return stale

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._misses.close()

    def _find(
        self, key: PageKey, policy: CachePolicy, grace: float, plan: Plan | None = None
    ) -> Page | None:
        """Return the stored page, if it expired no more than `grace` seconds ago."""
        cached = self._store.get(key)
        if cached is None:
            return None
        if self._shared is not None and not self._shared.may_serve_local:
            return None
        now = self._now()
        age = now - cached.content.read_at
        if age < 0.0:
            age = 0.0  # the clock was set back
        if policy.max_staleness is not None and age > policy.max_staleness:
            return None
        if policy.not_before is not None and not self._freshness.shows(
            policy, cached.content, plan
        ):
            return None
        left = cached.expires - now
        if left <= -grace:
            return None
        cached.stats.hits += 1
        if left > 0:
            # As a call of `Page` does, by way of a function in Python.
            return _new_page(Page, (cached.content, NO_USAGE, _HIT, age, left, None))
        return Page(cached.content, NO_USAGE, CacheStatus.STALE, age)


def cached_reader(
    reader: PageReader,
    store: PageStore,
    generations: Generations,
    read_timeout: float,
    quarantine: Quarantine = DEFAULT_QUARANTINE,
    shared: SharedPageCache | None = None,
    now: Callable[[], float] = time.time,
    jitter: Callable[[], float] = random.random,
    coalescing_timeout: float = DEFAULT_COALESCING_TIMEOUT,
    followed_until: Callable[[Plan], float] = not_followed,
) -> CachingReader:
    """Return the cache in front of `reader`: local look-up, then single flight, then filling.

    `read_timeout` bounds a shared read, `coalescing_timeout` the wait for the read of another
    caller, both in seconds. `now` gives seconds since the epoch, `jitter` a number from 0 to 1. For
    `followed_until` see `Freshness`.
    """
    freshness = Freshness(quarantine, followed_until, now)
    filling = FillingReader(reader, store, quarantine, shared, freshness, now, jitter)
    coalescing = CoalescingReader(
        filling, generations, quarantine, shared, freshness, read_timeout, coalescing_timeout
    )
    return CachingReader(coalescing, reader, store, freshness, shared, now)


def _bypasses(plan: Plan, options: ReadOptions) -> bool:
    """Return whether a page is neither looked up in the cache nor stored.

    Under a row rule a budget of reads would tell whether a page was cached, and so whether anything
    was written that the rule hides: a stored page spends none of it.
    """
    return (
        options.cache.mode is CacheMode.BYPASS
        or not plan.is_cached
        or (plan.rule is not None and options.budget.meters_reads)
    )
