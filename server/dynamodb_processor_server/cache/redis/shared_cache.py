"""The shared page cache in Redis, as the cache's readers use it: no error and no long wait."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal

from dynamodb_processor_server.cache.redis.encryption import (
    ExpiringPage,
    PageCipher,
)
from dynamodb_processor_server.cache.redis.invalidation_log import InvalidationLogFollower
from dynamodb_processor_server.cache.redis.port import (
    EpochChanged,
    LookupRequest,
    LookupResult,
    SharedCacheStore,
)
from dynamodb_processor_server.query.planning.tags import Tag
from dynamodb_processor_server.reader import PageContent
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from dynamodb_processor_server.runtime.rotating_cipher import DecryptionError

# Seconds to wait for another replica's read. Shorter than a lease: if the response to a lookup is
# lost, its lease has no holder, and must not delay other replicas for longer.
_LONGEST_WAIT: Final = 0.3
_MAX_PAGE_BYTES: Final = 1024 * 1024  # larger pages would make lookups too slow
_MAX_BACKGROUND_TASKS: Final = 100


@dataclass(frozen=True, slots=True)
class SharedLookup:
    """A page to look up.

    Attributes:
        cache_key: The cache key of its plan.
        cursor: The cursor at which the page starts.
        page_size: The number of items in a full page.
        tags: The tags of its plan.
        quarantine: The quarantine of its plan, in seconds.
        oldest: Pages read before this time do not count, in seconds since the epoch; inf to accept
            none.
        lifetime: Seconds that the page is stored if it is read, 0 if it will not be read.
        shared: Whether the caller is willing to wait for another replica's read of it.
        accepts: Whether a page that was found counts; None if any does that is not older.
    """

    cache_key: bytes
    cursor: bytes
    page_size: int
    tags: tuple[Tag, ...]
    quarantine: float
    oldest: float
    lifetime: float
    shared: bool
    accepts: Callable[[PageContent], bool] | None = None


@dataclass(slots=True)
class FillLease:
    """A missed lookup, and perhaps a lease: its holder stores the page it reads, or releases it."""

    request: LookupRequest
    result: LookupResult
    used: bool = False


class SharedPageCache:
    """Pages that replicas share.

    Args:
        store: The store of pages, generations and invalidations.
        cipher: Encrypts pages and makes their names.
        invalidation_log: This replica's follower of the invalidation log.
        guard: Sends the commands; it counts the outcomes of each operation.
        when_unavailable: Whether local pages are served while the invalidation log is not fresh.
        now: Returns seconds since the epoch.
        jitter: Returns a number from 0 to 1.
    """

    def __init__(
        self,
        store: SharedCacheStore,
        cipher: PageCipher,
        invalidation_log: InvalidationLogFollower,
        guard: GuardedStore,
        when_unavailable: Literal["bypass", "serve_until_ttl"] = "bypass",
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.invalidation_log = invalidation_log
        self._store = store
        self._cipher = cipher
        self.guard = guard
        self._serves_until_ttl = when_unavailable == "serve_until_ttl"
        self._now = now
        self._jitter = jitter
        self._background_tasks: set[asyncio.Task[None]] = set()

    @property
    def may_serve_local(self) -> bool:
        """Whether this replica's own pages may be served without a command to Redis."""
        return self._serves_until_ttl or self.invalidation_log.fresh

    async def find(self, lookup: SharedLookup) -> ExpiringPage | FillLease | None:
        """Return the page, or a lease to read and store it, or None if Redis cannot be used.

        The caller must have taken its snapshot of the local generations before.
        """
        if not self.invalidation_log.fresh:
            self.guard.outcomes["look_up", "not_fresh"] += 1
            return None
        request = LookupRequest(
            self.invalidation_log.epoch,
            self._cipher.page_name(lookup.cache_key, lookup.cursor, lookup.page_size),
            self._cipher.tag_names(lookup.tags),
            lookup.quarantine,
            lookup.lifetime,
            os.urandom(16).hex().encode() if lookup.shared else None,
            lookup.oldest <= self._now(),
        )
        try:
            return await self._find(request, lookup)
        except EpochChanged:
            self.guard.outcomes["look_up", "epoch_over"] += 1
            self.invalidation_log.mark_stale()
        except StoreError:
            pass  # it has been counted
        return None

    async def _find(self, request: LookupRequest, lookup: SharedLookup) -> ExpiringPage | FillLease:
        loop = asyncio.get_running_loop()
        patience = loop.time() + _LONGEST_WAIT
        while True:
            result = await self.guard.call("look_up", lambda: self._store.lookup(request))
            if result.page is not None:
                page = self._decrypted(request, result.page, result.generations)
                if page is not None and _counts(page.content, lookup):
                    self.guard.outcomes["look_up", "hit"] += 1
                    return page
            if not result.leased_by_other or loop.time() >= patience:
                self.guard.outcomes["look_up", "miss"] += 1
                return FillLease(request, result)
            await asyncio.sleep(0.02 + 0.03 * self._jitter())

    def _decrypted(
        self, request: LookupRequest, value: bytes, generations: tuple[bytes, ...]
    ) -> ExpiringPage | None:
        try:
            page = self._cipher.decrypt_page(value, _page_context(request, generations))
        except DecryptionError:
            self.guard.outcomes["look_up", "garbage"] += 1
            return None
        return page if page.expires > self._now() else None

    def store(self, lease: FillLease, content: PageContent, expires: float) -> None:
        """Store a page that was read under a lease, if that is allowed; return without waiting.

        The page's snapshot of local generations must be current and past quarantine. If Redis lost
        a generation and made a new one, an invalidation may have been lost with it: then this
        replica must have applied the invalidation log up to its length at the lookup.
        """
        result = lease.result
        known = self.invalidation_log.epoch == lease.request.epoch and (
            not result.has_new_generation or self.invalidation_log.sequence >= result.sequence
        )
        lifetime = expires - self._now()
        if (
            not (result.past_quarantine and known and lifetime > 0)
            or len(content.items) > _MAX_PAGE_BYTES
        ):
            self.release(lease)
            return
        lease.used = True
        context = _page_context(lease.request, result.generations)
        value = self._cipher.encrypt_page(ExpiringPage(content, expires), context)
        self.run_in_background(
            "store", lambda: self._store.store(lease.request, result.generations, value, lifetime)
        )

    def release(self, lease: FillLease) -> None:
        """Let other replicas read a page that will not be stored; nothing if it was stored."""
        if lease.result.leased and not lease.used:
            lease.used = True
            self.run_in_background(
                "release", lambda: self._store.release(lease.request, lease.result.generations)
            )

    async def close(self) -> None:
        """Wait for running commands, whose time is bounded, and close the store."""
        if self._background_tasks:
            await asyncio.wait(self._background_tasks)
        await self._store.close()

    def run_in_background(
        self, operation: str, command: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """Send a command that nobody waits for; a failure is counted."""
        if len(self._background_tasks) >= _MAX_BACKGROUND_TASKS:
            self.guard.outcomes[operation, "too_many"] += 1
            return

        async def run() -> None:
            try:
                await self.guard.call(operation, command)
            except StoreError:
                return
            self.guard.outcomes[operation, "done"] += 1

        task = asyncio.create_task(run(), name=f"shared cache: {operation}")
        self._background_tasks.add(task)
        task.add_done_callback(self._background_tasks.discard)


def _counts(content: PageContent, lookup: SharedLookup) -> bool:
    if content.read_at < lookup.oldest:
        return False
    return lookup.accepts is None or lookup.accepts(content)


def _page_context(request: LookupRequest, generations: tuple[bytes, ...]) -> bytes:
    return b"page" + b"\0".join((request.epoch, request.page, *generations))
