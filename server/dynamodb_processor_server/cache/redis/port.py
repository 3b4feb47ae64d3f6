"""The port of the shared cache: a store of pages, generations and invalidations for all replicas.

Names and values are opaque here: `cache.redis.encryption` makes them. Data belongs to an epoch. A
store that may have lost data (after a restart, flush or failover) begins a new epoch, which is
empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: A replica that lags by more invalidations than this gets none of them one by one.
MAX_EVENTS = 1_000
#: The values of `SharedCacheStore.note_progress` that are kept. Replicas poll five times as often
#: as one of them notes its progress.
MAX_PROGRESS = 50
#: The cursor before the first of them.
FIRST_PROGRESS = b"0-0"


class EpochChanged(Exception):
    """The store is in another epoch than that of the request."""


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """A lookup of a page. Times are in seconds.

    Attributes:
        epoch: The epoch that the caller knows.
        page: The name of the page.
        tags: The names of its tags; the page must have their current generations.
        quarantine: No lease is granted while a tag was invalidated more recently than this.
        lifetime: How long a page that is read now may live, and how long its generations will; 0 if
            none will be read, so that no generation is made.
        lease: A value of the caller's own to request the lease with, None to request none.
        wants_page: False to get only the generations.
    """

    epoch: bytes
    page: bytes
    tags: tuple[bytes, ...]
    quarantine: float
    lifetime: float
    lease: bytes | None = None
    wants_page: bool = True


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The result of a lookup.

    Attributes:
        generations: The tags' current generations, empty for a missing one.
        sequence: The number of the latest invalidation.
        past_quarantine: Whether no tag was invalidated within `LookupRequest.quarantine`.
        has_new_generation: Whether a missing generation was made a moment ago. An invalidation
            before it may have been lost; only the log up to `sequence` still has it.
        page: The encrypted page, None if there is none.
        leased: Whether the caller has the lease.
        leased_by_other: Whether another caller has it.
    """

    generations: tuple[bytes, ...]
    sequence: int
    past_quarantine: bool
    has_new_generation: bool
    page: bytes | None
    leased: bool = False
    leased_by_other: bool = False


@dataclass(frozen=True, slots=True)
class PollResult:
    """The invalidations after a number of the log.

    `sequence` is the latest number. `events` are the first ones, in order and by number; there are
    none for a request with another epoch, or one that lags by more than `MAX_EVENTS`. `progress`
    has the values of `note_progress`, by cursor, each noted before this poll.
    """

    epoch: bytes
    sequence: int
    events: Sequence[tuple[int, bytes]]
    progress: Sequence[tuple[bytes, bytes]] = ()


class SharedCacheStore(Protocol):
    """Stores pages, generations and the invalidation log.

    Every method raises StoreError.
    """

    async def connect(self) -> None:
        """Connect within a few seconds, so that the other methods need not."""
        ...

    async def lookup(self, request: LookupRequest) -> LookupResult:
        """Return the page and the generations; create missing generations.

        Raises EpochChanged as well.
        """
        ...

    async def store(
        self,
        request: LookupRequest,
        generations: tuple[bytes, ...],
        value: bytes,
        lifetime: float,
    ) -> None:
        """Store a page read under `generations` for `lifetime` seconds, and give up its lease."""
        ...

    async def release(self, request: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Give up the lease of a page that will not be stored."""
        ...

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Give tags new generations and append an event to the log, in one step."""
        ...

    async def poll(
        self, epoch: bytes, after: int, most: int, progress_after: bytes = FIRST_PROGRESS
    ) -> PollResult:
        """Return the events after a number, at most so many, and the progress after a cursor."""
        ...

    async def note_progress(self, epoch: bytes, value: bytes) -> None:
        """Keep a value for later polls for some time, if this epoch is the current one.

        Only the latest values are kept.
        """
        ...

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch if this one is still the current one."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
