"""The port of the shared tier: a store that all replicas reach, in the words of that store.

Names and values are opaque here: `caching.shared.sealing` makes them. What belongs together lives
in an epoch. A store that may have lost something (restarted, flushed, failed over) begins a new
one, in which there is nothing yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

#: Whoever is further behind than so many invalidations is not told them one by one.
MOST_EVENTS = 1_000


class EpochChanged(Exception):
    """The store is in another epoch than its caller knows."""


@dataclass(frozen=True, slots=True)
class LookupRequest:
    """What is asked about a page. Times are in seconds.

    The page must carry the current generations of `tags`. The lease is asked for with a `lease`
    that nobody else uses, None for none; nobody gets it while a tag was moved less than
    `quarantine` ago. `wanted` is False where only the generations are. `lifetime` is how long a
    page that is read now may live, and its generations will; where it is 0 none is read, and no
    generation made.
    """

    epoch: bytes
    page: bytes
    tags: tuple[bytes, ...]
    quarantine: float
    lifetime: float
    lease: bytes | None = None
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What is there.

    `generations` are the tags' current ones, empty where one is missing. `past_quarantine` says
    that none was moved less than `LookupRequest.quarantine` ago; `young`, that one was made anew a
    moment ago, so that a move before it may have been lost, of which only the stream up to
    `sequence` tells. `leased` says that the caller has the lease, `taken` that another one has it.
    """

    generations: tuple[bytes, ...]
    sequence: int
    past_quarantine: bool
    young: bool
    page: bytes | None
    leased: bool = False
    taken: bool = False


@dataclass(frozen=True, slots=True)
class PollResult:
    """What was invalidated after a number of the stream.

    `sequence` is the latest number. `events` are the first ones, in order and by number; whoever
    asked with another epoch, or is further behind than `MOST_EVENTS`, gets none.
    """

    epoch: bytes
    sequence: int
    events: Sequence[tuple[int, bytes]]


class SharedCacheStore(Protocol):
    """Stores pages, generations and the stream of invalidations.

    Every method raises StoreError.
    """

    async def connect(self) -> None:
        """Get ready for the other methods, in some seconds, so that those take as long as usual."""
        ...

    async def lookup(self, asked: LookupRequest) -> LookupResult:
        """Return the page and the generations; create missing generations.

        Raises EpochChanged as well.
        """
        ...

    async def store(
        self,
        asked: LookupRequest,
        generations: tuple[bytes, ...],
        value: bytes,
        lifetime: float,
    ) -> None:
        """Keep a page read under `generations` for `lifetime` seconds, and give up its lease."""
        ...

    async def release(self, asked: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Give up the lease of a page that is not going to be stored."""
        ...

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Move tags and append an event to the stream, both at once."""
        ...

    async def poll(self, epoch: bytes, after: int, most: int) -> PollResult:
        """Return what was appended after a number, at most so many events."""
        ...

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch if this one is still the current one."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
