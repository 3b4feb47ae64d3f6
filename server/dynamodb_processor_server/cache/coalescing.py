"""The reader that lets concurrent misses of one page share one read."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import replace
from math import inf
from typing import Final

from dynamodb_processor_server.cache.freshness import Freshness
from dynamodb_processor_server.cache.generations import Generations
from dynamodb_processor_server.cache.page_flights import FollowerTimeout, PageFlight, PageFlights
from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.cache.read_ahead import can_reuse
from dynamodb_processor_server.cache.redis.invalidation_log import FRESH_SECONDS
from dynamodb_processor_server.cache.redis.shared_cache import SharedPageCache
from dynamodb_processor_server.errors import BackendUnavailable, DeadlineExceeded, Overloaded
from dynamodb_processor_server.query.planning.plan import ReadLag
from dynamodb_processor_server.reader import (
    DEFAULT_CACHE_POLICY,
    NO_BUDGET,
    NO_USAGE,
    CacheMode,
    CachePolicy,
    CacheStatus,
    Page,
    PageRead,
    PageReader,
    PartialRead,
    ReadOptions,
)
from dynamodb_processor_server.snapshot import GenerationSnapshot

_MAX_REVALIDATING: Final = 20  # at once; nobody waits for these reads
#: Seconds that a caller waits for the read of another one before it reads by itself.
DEFAULT_COALESCING_TIMEOUT: Final = 2.0


class CoalescingReader:
    """Lets concurrent misses under the same generations share one read.

    It takes the generation snapshot of every read that may be stored, before anything is read. A
    shared read is bounded by `read_timeout` seconds of its own; the deadline of a caller bounds
    only that caller's wait. A caller that has waited `coalescing_timeout` seconds for the read of
    another one begins a read of its own, which the others then wait for. REFRESH, ONLY_IF_CACHED
    and reads with a budget share nothing.
    """

    def __init__(
        self,
        reader: PageReader,
        generations: Generations,
        quarantine: Quarantine,
        shared: SharedPageCache | None,
        freshness: Freshness,
        read_timeout: float,
        coalescing_timeout: float = DEFAULT_COALESCING_TIMEOUT,
        flights: PageFlights | None = None,
    ) -> None:
        self._reader = reader
        self._generations = generations
        self._quarantine = quarantine
        self._shared = shared
        self._freshness = freshness
        self._read_timeout = read_timeout
        self._coalescing_timeout = coalescing_timeout
        self._flights = flights or PageFlights()
        self._revalidating = 0

    async def read_page(self, request: PageRead) -> Page:
        """Return a page, read together with the other callers of it; see `PageReader`."""
        cache = request.options.cache
        budget = request.options.budget
        if cache.not_before is not None:
            request = request._replace(plan=self._freshness.planned(request.plan, cache))
        limited = budget is not NO_BUDGET and budget.is_limited
        may_strengthen = not limited and cache.mode is not CacheMode.ONLY_IF_CACHED
        request, past_quarantine = self._begin(request, may_strengthen=may_strengthen)
        if limited or cache.mode is not CacheMode.DEFAULT:
            return await self._reader.read_page(request)
        return await self._read_coalesced(request, cache, past_quarantine)

    def revalidate(self, request: PageRead) -> None:
        """Read a page again for later callers, unless many pages are being read so."""
        options = ReadOptions(request.options.page_size, inf, inf)
        request = request._replace(options=options, read_ahead=None)
        request, past_quarantine = self._begin(request, may_strengthen=True)
        key = self._key(request, DEFAULT_CACHE_POLICY, past_quarantine)
        is_read = self._flights.find(key, -inf) is not None
        if is_read or self._revalidating >= _MAX_REVALIDATING:
            return
        self._revalidating += 1
        flight = self._start(key, request, DEFAULT_CACHE_POLICY, attended=False)
        flight.task.add_done_callback(self._revalidated)

    async def close(self) -> None:
        """End the reads that nobody waits for."""
        await self._flights.close()

    def _begin(self, request: PageRead, *, may_strengthen: bool) -> tuple[PageRead, bool]:
        """Return a read with its snapshot, and whether its page shows the latest invalidation.

        Items that its call has read ahead stay part of the read, which then keeps their snapshot,
        or are dropped. In quarantine the plan reads consistently, where DynamoDB offers that: twice
        the read units once, instead of some for every caller until the quarantine is over. It does
        not under a budget, which is for the plan that was asked for.
        """
        plan, read_ahead = request.plan, request.read_ahead
        snapshot = self._generations.begin(plan.tags)
        if read_ahead is not None:
            earlier = read_ahead.snapshot
            up_to_date, seconds = self._invalidations_up_to_date, self._quarantine.of(plan)
            if earlier is not None and can_reuse(request, earlier, snapshot, seconds, up_to_date):
                snapshot = earlier
            else:
                read_ahead = None
        past_quarantine = self._is_past_quarantine(request, snapshot)
        if may_strengthen and not past_quarantine:
            plan = plan.with_consistent_reads()
            past_quarantine = plan.lag is ReadLag.NONE
        # `_replace` takes three times as long.
        _, cursor, options, caller, _, _, _, key = request
        key = key or request.key
        begun = PageRead(plan, cursor, options, caller, snapshot, read_ahead, None, key)
        return begun, past_quarantine

    def _is_past_quarantine(self, request: PageRead, snapshot: GenerationSnapshot) -> bool:
        if snapshot.invalidated == -inf:
            return True
        return snapshot.is_past_quarantine(self._quarantine.of(request.plan))

    @property
    def _invalidations_up_to_date(self) -> bool:
        """Whether no invalidation of another replica can have been missed here."""
        return self._shared is None or self._shared.may_serve_local

    def _key(self, request: PageRead, cache: CachePolicy, past_quarantine: bool) -> Hashable:
        """Return the key of flights that a read may join.

        A request made after quarantine does not join a read that started during it. Requests with
        a bound on freshness share reads with each other, as these may be consistent.
        """
        assert request.snapshot is not None, "the read has not begun"
        has_cached_parts = self._shared is not None or request.plan.hydration is not None
        accepted = (cache.mode, cache.max_staleness) if has_cached_parts else None
        is_bounded = request.options.cache.not_before is not None
        generations = request.snapshot.generations
        return request.known_key, generations, past_quarantine, accepted, is_bounded

    async def _read_coalesced(
        self,
        request: PageRead,
        cache: CachePolicy,
        past_quarantine: bool,
        again: bool = False,
        patience: float | None = None,
    ) -> Page:
        """Read a page together with all callers under the same generations.

        While local generations cannot be trusted, only a read is joined that began after all
        invalidations acknowledged by now were received here. A caller whose shared read was refused
        by admission asks once more (`again`), together with the others if possible. One whose
        shared read takes longer than `patience` seconds (None: the coalescing timeout) reads once
        more, and waits for that without a bound. `cache` says which pages of the shared cache the
        read may return.
        """
        options = request.options
        key = self._key(request, cache, past_quarantine)
        since = self._earliest_begin(options.cache.max_staleness)
        not_before = options.cache.not_before
        flight = self._flights.find(key, since, -inf if not_before is None else not_before)
        if flight is not None:
            if patience is None:
                patience = self._coalescing_timeout
            try:
                page = await self._flights.join(key, flight, options, patience)
            except Overloaded:
                # The refused principal is that of another caller, and had a load of its own.
                if again:
                    raise
                return await self._read_coalesced(request, cache, past_quarantine, True, patience)
            except FollowerTimeout:
                # The first of the waiting callers reads, and the others join it.
                return await self._read_coalesced(request, cache, past_quarantine, again, inf)
            page = page._replace(usage=NO_USAGE, read_ahead=None)
            status = CacheStatus.COALESCED
        else:
            page = await self._flights.join(key, self._start(key, request, cache), options)
            status = CacheStatus.MISS
        is_shared = page.status is CacheStatus.SHARED_HIT
        if (is_shared or page.age) and not self._is_acceptable(request, page, flight is not None):
            # Fresh enough for the caller who began the read, or aged on its way.
            all_anew = replace(options.cache, mode=CacheMode.REFRESH, max_staleness=None)
            anew = await self._read_coalesced(request, all_anew, past_quarantine)
            return anew._replace(usage=page.usage + anew.usage)
        return page if is_shared or page.status is status else page._replace(status=status)

    def _is_acceptable(self, request: PageRead, page: Page, joined: bool) -> bool:
        """Return whether a page of the shared cache, or with cached items, is what a caller wants.

        Cached items were found for the caller who began the read.
        """
        cache, snapshot = request.options.cache, request.snapshot
        if cache.max_staleness is not None and page.age > cache.max_staleness:
            return False
        if page.status is not CacheStatus.SHARED_HIT and not joined:
            return True
        # After an invalidation, a write that was dealt with may be missing in the page.
        is_current = snapshot is not None and snapshot.is_current
        if page.status is not CacheStatus.SHARED_HIT and not self._invalidations_up_to_date:
            return False
        return self._freshness.shows(cache, page.content, request.plan if is_current else None)

    def _earliest_begin(self, staleness: float | None) -> float:
        """Return when a flight must have begun for a caller to join it."""
        if staleness is None and self._invalidations_up_to_date:
            return -inf
        now = asyncio.get_running_loop().time()
        not_before = -inf if staleness is None else now - staleness
        if not self._invalidations_up_to_date:
            not_before = max(not_before, now - FRESH_SECONDS)
        return not_before

    def _start(
        self, key: Hashable, request: PageRead, cache: CachePolicy, *, attended: bool = True
    ) -> PageFlight:
        """Start the read of a page with a time bound of its own."""
        began = asyncio.get_running_loop().time()
        until = began + self._read_timeout
        asked = request.options
        options = ReadOptions(asked.page_size, until, until, cache=cache, reads_on=asked.reads_on)

        async def read(progress: PartialRead) -> Page:
            plan, cursor, _, caller, snapshot, read_ahead, _, key = request
            shared = PageRead(plan, cursor, options, caller, snapshot, read_ahead, progress, key)
            try:
                return await self._reader.read_page(shared)
            except DeadlineExceeded:  # of the flight, not of a caller
                message = f"{request.plan.table.name} is read too slowly"
                raise BackendUnavailable(message) from None

        if request.read_ahead is not None:
            began = -inf
        flight = self._flights.start(key, read, began, attended=attended)
        if asked.cache.not_before is not None and request.read_ahead is None:
            flight.shows_until = self._freshness.shown_by_read(request.plan)
        return flight

    def _revalidated(self, _task: asyncio.Task[Page]) -> None:
        self._revalidating -= 1
