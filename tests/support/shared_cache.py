"""A shared cache in memory, on a clock of the test; it can lose data as Redis may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

from dynamodb_processor_server.cache.redis.port import (
    FIRST_PROGRESS,
    MAX_EVENTS,
    MAX_PROGRESS,
    EpochChanged,
    LookupRequest,
    LookupResult,
    PollResult,
)
from tests.support.shared_items import MemorySharedItems

YOUNG = 2.0
LEASE = 1.0


@dataclass(frozen=True, slots=True)
class _Generation:
    name: bytes
    invalidated: bool
    at: float


class TagState(NamedTuple):
    """A tag's generation as a lookup sees it."""

    name: bytes
    past_quarantine: bool
    is_new: bool


class MemorySharedCache:
    """The store that replicas share. `clock` gives seconds; `random` makes the values."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._begin()
        self.items = MemorySharedItems(self)

    def _begin(self) -> None:
        self.epoch = self._value()
        self.events: list[bytes] = [b""]  # the first is number 1
        self.progress: list[bytes] = []  # the first is number 1 as well
        self.generations: dict[bytes, _Generation] = {}
        self.pages: dict[bytes, tuple[tuple[bytes, ...], bytes, float]] = {}
        self._leases: dict[tuple[bytes, tuple[bytes, ...]], tuple[bytes, float]] = {}

    def _value(self) -> bytes:
        return self._random.randbytes(16).hex().encode()

    def flush(self) -> None:
        """Lose all data."""
        self._begin()

    def evict_generations(self) -> None:
        """Lose the generations, which leaves no trace."""
        self.generations.clear()

    async def connect(self) -> None:
        """Do nothing."""

    async def lookup(self, request: LookupRequest) -> LookupResult:
        """Return the page and the generations."""
        if request.epoch != self.epoch:
            raise EpochChanged
        now = self._clock()
        known = [self.state(tag, request.quarantine, request.lifetime) for tag in request.tags]
        names = tuple(state.name for state in known)
        past_quarantine = all(state.past_quarantine for state in known)
        has_new = any(state.is_new for state in known)
        page = self._page(request.page, names) if request.wants_page else None
        leased = by_other = False
        if page is None and request.lease is not None and past_quarantine:
            lease = self._leases.get((request.page, names))
            by_other = lease is not None and lease[1] > now and lease[0] != request.lease
            leased = not by_other
            if leased:
                self._leases[request.page, names] = request.lease, now + LEASE
        return LookupResult(
            names, len(self.events), past_quarantine, has_new, page, leased, by_other
        )

    def now(self) -> float:
        """Return the time of the test."""
        return self._clock()

    def state(self, tag: bytes, quarantine: float, lifetime: float) -> TagState:
        """Return the state of a tag; without a lifetime, make no generation."""
        generation = self._generation(tag, made=lifetime > 0)
        age = self._clock() - generation.at
        hot = generation.invalidated and age < quarantine
        return TagState(generation.name, not hot, not generation.invalidated and age < YOUNG)

    def supersede(self, tags: Sequence[bytes]) -> None:
        """Give tags new generations."""
        for tag in tags:
            self.generations[tag] = _Generation(self._value(), True, self._clock())

    def _generation(self, tag: bytes, *, made: bool) -> _Generation:
        if tag not in self.generations:
            if not made:
                return _Generation(b"", False, self._clock())
            self.generations[tag] = _Generation(self._value(), False, self._clock())
        return self.generations[tag]

    def _page(self, page: bytes, names: tuple[bytes, ...]) -> bytes | None:
        under, value, until = self.pages.get(page, ((), b"", 0.0))
        return value if under == names and until > self._clock() else None

    async def store(
        self, request: LookupRequest, generations: tuple[bytes, ...], value: bytes, lifetime: float
    ) -> None:
        """Store a page and give up its lease; a page of an earlier epoch is never found."""
        if request.epoch == self.epoch:
            self.pages[request.page] = generations, value, self._clock() + lifetime
        await self.release(request, generations)

    async def release(self, request: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Give up the lease."""
        lease = self._leases.get((request.page, generations))
        if lease is not None and lease[0] == request.lease:
            del self._leases[request.page, generations]

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Give tags new generations and append an event."""
        self.supersede(tags)
        self.events.append(event)

    async def poll(
        self, epoch: bytes, after: int, most: int, progress_after: bytes = FIRST_PROGRESS
    ) -> PollResult:
        """Return the events after a number, and the progress after a cursor."""
        events: Sequence[tuple[int, bytes]] = ()
        progress: Sequence[tuple[bytes, bytes]] = ()
        if epoch == self.epoch:
            if len(self.events) - after <= MAX_EVENTS:
                events = list(enumerate(self.events[after : after + most], after + 1))
            first = max(int(progress_after.removesuffix(b"-0")), len(self.progress) - MAX_PROGRESS)
            noted = enumerate(self.progress[first:], first + 1)
            progress = [(b"%d-0" % number, value) for number, value in noted]
        return PollResult(self.epoch, len(self.events), events, progress)

    async def note_progress(self, epoch: bytes, value: bytes) -> None:
        """Keep a value for later polls."""
        if epoch == self.epoch:
            self.progress.append(value)

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch."""
        if epoch == self.epoch:
            self._begin()

    async def close(self) -> None:
        """Do nothing."""
