"""The shared tier as the caching Reader uses it: it never fails, and never costs much time."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, Literal

from dynamodb_processor_server.cache.redis.encryption import (
    DecryptionError,
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

# Seconds for somebody else's read. Shorter than the lease lives: one whose look-up was not answered
# in time is held by nobody, and must not cost more than this.
_LONGEST_WAIT: Final = 0.3
_LARGEST_PAGE: Final = 1024 * 1024  # bytes; larger ones take too long to be looked up
_MOST_ERRANDS: Final = 100


@dataclass(frozen=True, slots=True)
class SharedLookup:
    """A page to look for.

    `quarantine` is the quarantine of its plan, in seconds. A page read before `oldest`, in seconds
    since the epoch, is not wanted, inf for none at all. `shared` says that the caller is willing to
    wait for another replica's read of it. `lifetime` is for how many seconds the page is kept if it
    is read, 0 if it is not going to be.
    """

    cache_key: bytes
    cursor: bytes
    page_size: int
    tags: tuple[Tag, ...]
    quarantine: float
    oldest: float
    lifetime: float
    shared: bool


@dataclass(slots=True)
class FillLease:
    """What a page was looked for under; whoever holds it keeps what it reads, or releases it."""

    asked: LookupRequest
    found: LookupResult
    used: bool = False


class SharedPageCache:
    """Pages that replicas share.

    `lost` says whether local pages are served while the view of invalidations is not fresh. `guard`
    counts the outcomes of each operation. `now` gives seconds since the epoch, `jitter` a number
    from 0 to 1.
    """

    def __init__(
        self,
        store: SharedCacheStore,
        sealer: PageCipher,
        view: InvalidationLogFollower,
        guard: GuardedStore,
        lost: Literal["bypass", "serve_until_ttl"] = "bypass",
        now: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.view = view
        self._store = store
        self._sealer = sealer
        self.guard = guard
        self._lenient = lost == "serve_until_ttl"
        self._now = now
        self._jitter = jitter
        self._errands: set[asyncio.Task[None]] = set()

    @property
    def trusts_local(self) -> bool:
        """Whether what this replica holds may be served without asking anybody."""
        return self._lenient or self.view.fresh

    async def find(self, wanted: SharedLookup) -> ExpiringPage | FillLease | None:
        """Return the page, or leave to read and store it, or None if the tier cannot be used.

        The caller must have begun its own reading before.
        """
        if not self.view.fresh:
            self.guard.outcomes["look_up", "not_fresh"] += 1
            return None
        asked = LookupRequest(
            self.view.epoch,
            self._sealer.page_name(wanted.cache_key, wanted.cursor, wanted.page_size),
            self._sealer.tag_names(wanted.tags),
            wanted.quarantine,
            wanted.lifetime,
            os.urandom(16).hex().encode() if wanted.shared else None,
            wanted.oldest <= self._now(),
        )
        try:
            return await self._find(asked, wanted.oldest)
        except EpochChanged:
            self.guard.outcomes["look_up", "epoch_over"] += 1
            self.view.mark_stale()
        except StoreError:
            pass  # it has been counted
        return None

    async def _find(self, asked: LookupRequest, oldest: float) -> ExpiringPage | FillLease:
        loop = asyncio.get_running_loop()
        patience = loop.time() + _LONGEST_WAIT
        while True:
            found = await self.guard.call("look_up", lambda: self._store.lookup(asked))
            if found.page is not None:
                page = self._opened(asked, found.page, found.generations)
                if page is not None and page.content.read_at >= oldest:
                    self.guard.outcomes["look_up", "hit"] += 1
                    return page
            if not found.taken or loop.time() >= patience:
                self.guard.outcomes["look_up", "miss"] += 1
                return FillLease(asked, found)
            await asyncio.sleep(0.02 + 0.03 * self._jitter())

    def _opened(
        self, asked: LookupRequest, value: bytes, generations: tuple[bytes, ...]
    ) -> ExpiringPage | None:
        try:
            page = self._sealer.decrypt_page(value, _place(asked, generations))
        except DecryptionError:
            self.guard.outcomes["look_up", "garbage"] += 1
            return None
        return page if page.expires > self._now() else None

    def store(self, ticket: FillLease, content: PageContent, expires: float) -> None:
        """Store what was read under a ticket, if it may be; nobody waits for that.

        The page's local reading must be intact and settled. Where a generation was made anew, a
        move before may have been lost with the earlier one: then the view must have come as far as
        the stream had when the page was looked for.
        """
        found = ticket.found
        known = self.view.epoch == ticket.asked.epoch and (
            not found.young or self.view.sequence >= found.sequence
        )
        lifetime = expires - self._now()
        if (
            not (found.past_quarantine and known and lifetime > 0)
            or len(content.items) > _LARGEST_PAGE
        ):
            self.release(ticket)
            return
        ticket.used = True
        place = _place(ticket.asked, found.generations)
        value = self._sealer.encrypt_page(ExpiringPage(content, expires), place)
        self._run_in_background(
            "store", lambda: self._store.store(ticket.asked, found.generations, value, lifetime)
        )

    def release(self, ticket: FillLease) -> None:
        """Let others read what is not going to be stored, unless it has been."""
        if ticket.found.leased and not ticket.used:
            ticket.used = True
            self._run_in_background(
                "release", lambda: self._store.release(ticket.asked, ticket.found.generations)
            )

    async def close(self) -> None:
        """Wait for what is being stored, which is bounded in time, and close the store."""
        if self._errands:
            await asyncio.wait(self._errands)
        await self._store.close()

    def _run_in_background(
        self, operation: str, errand: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        if len(self._errands) >= _MOST_ERRANDS:
            self.guard.outcomes[operation, "too_many"] += 1
            return

        async def run() -> None:
            try:
                await self.guard.call(operation, errand)
            except StoreError:
                return
            self.guard.outcomes[operation, "done"] += 1

        task = asyncio.create_task(run(), name=f"shared cache: {operation}")
        self._errands.add(task)
        task.add_done_callback(self._errands.discard)


def _place(asked: LookupRequest, generations: tuple[bytes, ...]) -> bytes:
    return b"page" + b"\0".join((asked.epoch, asked.page, *generations))
