"""Where pages are kept: in the store of this replica, and in the tier that replicas share."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from math import inf
from typing import Final, TypeAlias

from dynamodb_processor_server.cache.generations import Generations, GenerationSnapshot
from dynamodb_processor_server.cache.page_store import CachedPage, PageStore
from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.cache.redis.encryption import ExpiringPage
from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.cache.redis.shared_cache import (
    FillLease,
    SharedLookup,
    SharedPageCache,
)
from dynamodb_processor_server.errors import PreconditionFailed
from dynamodb_processor_server.query.planning.plan import Plan
from dynamodb_processor_server.reader import (
    NO_USAGE,
    CachePolicy,
    CacheStatus,
    Cursor,
    Page,
    PageEnd,
    PageReader,
    ReadOptions,
)

PageKey: TypeAlias = tuple[bytes, Cursor, int]  # the plan's, where the page begins, its size

# Pages cut by one caller's budget are not what another one asks for.
_STORABLE: Final = frozenset({PageEnd.PAGE_FULL, PageEnd.EXHAUSTED, PageEnd.RESPONSE_BYTES})
_LONGEST_AHEAD: Final = 10.0  # seconds for which a page says that it is fresh
_JITTER: Final = 0.05  # a page lives up to this share shorter, so that pages do not expire at once


class CacheFill:
    """Gives and takes pages under generations; what it is given to read with is `reader`.

    `now` gives seconds since the epoch, `jitter` a number from 0 to 1.
    """

    def __init__(
        self,
        reader: PageReader,
        store: PageStore,
        generations: Generations,
        quarantine: Quarantine,
        shared: SharedPageCache | None,
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.shares = shared is not None
        self._reader = reader
        self._store = store
        self._generations = generations
        self._quarantine = quarantine
        self._shared = shared
        self._now = now
        self._jitter = jitter

    @property
    def invalidations_up_to_date(self) -> bool:
        """Whether what is held here counts; if not, an invalidation may have been missed."""
        return self._shared is None or self._shared.may_serve_local

    def begin(self, plan: Plan, limits: ReadOptions | None = None) -> GenerationSnapshot:
        """Return what a read of a plan is begun under.

        What its call has read in advance is part of the read if it was read under the same and not
        too long ago, and thrown away if not.
        """
        reading = self._generations.begin(plan.tags)
        surplus = None if limits is None else limits.surplus
        if limits is None or surplus is None:
            return reading
        if surplus.fetched is not None:
            earlier = surplus.snapshot
            if isinstance(earlier, GenerationSnapshot) and self._can_reuse_prefetch(
                plan, limits, earlier, reading
            ):
                return earlier
            surplus.fetched = None
        surplus.snapshot = reading
        return reading

    def _can_reuse_prefetch(
        self,
        plan: Plan,
        limits: ReadOptions,
        earlier: GenerationSnapshot,
        reading: GenerationSnapshot,
    ) -> bool:
        """Return whether what was read under an earlier reading may be part of a page now."""
        staleness = limits.cache.max_staleness
        oldest = min(
            _LONGEST_AHEAD if self.invalidations_up_to_date else FRESH_SECONDS,
            plan.table.config.cache_ttl,
            inf if staleness is None else staleness,
        )
        return (
            earlier.generations == reading.generations
            and reading.began - earlier.began < oldest
            # What began in quarantine is read strongly to its end.
            and self.is_past_quarantine(plan, earlier) == self.is_past_quarantine(plan, reading)
        )

    def is_past_quarantine(self, plan: Plan, reading: GenerationSnapshot) -> bool:
        """Return whether a read began so late that it shows what was invalidated before it."""
        return reading.is_past_quarantine(self._settling(plan))

    def plan_for_fill(self, plan: Plan, reading: GenerationSnapshot) -> Plan:
        """Return how to read a plan so that it may be stored.

        In quarantine that takes a strong read, where there is one: twice the read units once,
        instead of some for everyone who asks until it is over.
        """
        return plan if self.is_past_quarantine(plan, reading) else plan.with_consistent_reads()

    def _settling(self, plan: Plan) -> float:
        """Return for how many seconds after an invalidation a plan's reads may be old."""
        return 0.0 if plan.consistent else self._quarantine.of(plan)

    def lookup_local(self, key: PageKey, policy: CachePolicy, grace: float) -> Page | None:
        """Return what is stored, if it expired no more than `grace` seconds ago."""
        stored = self._store.get(key)
        if stored is None:
            return None
        if self._shared is not None and not self._shared.may_serve_local:
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

    async def lookup_shared(self, key: PageKey, plan: Plan, policy: CachePolicy) -> Page:
        """Return a page that is not stored here from the shared tier, or fail."""
        if self._shared is not None:
            reading = self.begin(plan)
            wanted = self._wanted(key, plan, policy.max_staleness, 0.0, shared=False)
            found = await self._shared.find(wanted)
            if isinstance(found, ExpiringPage) and self._is_young(found, policy.max_staleness):
                return self._store_shared_page(key, plan, reading, found)
        raise not_cached()

    async def read(
        self,
        key: PageKey,
        plan: Plan,
        reading: GenerationSnapshot,
        limits: ReadOptions,
        age: float | None,
        *,
        shared: bool,
    ) -> Page:
        """Return a page from the shared tier, or read it; and store it for the next ones.

        A page of the tier may be `age` seconds old: None for any age, a negative one for no page of
        the tier's. What was read in advance was not looked for in the tier before it was read, so
        it is not stored there either.
        """
        ticket = None
        in_advance = limits.surplus is not None and limits.surplus.fetched is not None
        if self._shared is not None and not in_advance:
            lifetime = plan.table.config.cache_ttl
            found = await self._shared.find(self._wanted(key, plan, age, lifetime, shared=shared))
            if not isinstance(found, ExpiringPage):
                ticket = found
            elif self._is_young(found, age):
                return self._store_shared_page(key, plan, reading, found)
        try:
            page = await self._reader.read_page(plan, key[1], limits)
            return self._store_page(key, plan, reading, page, ticket)
        finally:
            if self._shared is not None and ticket is not None:
                self._shared.release(ticket)

    def _is_young(self, page: ExpiringPage, age: float | None) -> bool:
        """Return whether a page is no older than wanted, now that it is here."""
        return age is None or self._now() - page.content.read_at <= age

    def _wanted(
        self, key: PageKey, plan: Plan, age: float | None, lifetime: float, *, shared: bool
    ) -> SharedLookup:
        oldest = -inf
        if age is not None:
            oldest = inf if age < 0 else self._now() - age
        shared = shared and oldest < inf
        return SharedLookup(*key, plan.tags, self._settling(plan), oldest, lifetime, shared)

    def _store_page(
        self,
        key: PageKey,
        plan: Plan,
        reading: GenerationSnapshot,
        page: Page,
        ticket: FillLease | None,
    ) -> Page:
        """Store a page just read, if it may be, and say so on it."""
        page = page._replace(status=CacheStatus.MISS)
        if not (
            page.content.end in _STORABLE
            and reading.is_current
            and self.is_past_quarantine(plan, reading)
        ):
            return page
        lifetime = plan.table.config.cache_ttl * (1 - _JITTER * self._jitter())
        last = inf if page.content.valid_until is None else page.content.valid_until
        expires = min(page.content.read_at + lifetime, last)
        if expires <= self._now():
            return page
        if self._shared is not None and ticket is not None:
            self._shared.store(ticket, page.content, expires)
        if not self._put(key, plan, reading, ExpiringPage(page.content, expires)):
            return page
        return page._replace(expires_in=max(0.0, expires - self._now()))

    def _store_shared_page(
        self, key: PageKey, plan: Plan, reading: GenerationSnapshot, page: ExpiringPage
    ) -> Page:
        """Store a page of the shared tier, if nothing has moved since `reading` was begun.

        It need not have been settled: that was for who read the page to see to.
        """
        if reading.is_current:
            self._put(key, plan, reading, page)
        now = self._now()
        age = max(0.0, now - page.content.read_at)
        left = max(0.0, page.expires - now)
        return Page(page.content, NO_USAGE, CacheStatus.SHARED_HIT, age, left)

    def _put(
        self, key: PageKey, plan: Plan, reading: GenerationSnapshot, page: ExpiringPage
    ) -> bool:
        declaration = plan.table.config
        grace = max(declaration.stale_while_revalidate, declaration.stale_if_error)
        last = inf if page.content.valid_until is None else page.content.valid_until
        kept_until = min(page.expires + grace, last)
        tally = self._store.tally(plan.table.name)
        stored = CachedPage(
            page.content, page.expires, kept_until, reading.generations, tally, len(key[1])
        )
        return self._store.put(key, stored)


def not_cached() -> PreconditionFailed:
    """Return what ONLY_IF_CACHED fails with."""
    return PreconditionFailed(
        "NOT_CACHED", "cache.mode", "the page is not cached, and ONLY_IF_CACHED reads nothing"
    )
