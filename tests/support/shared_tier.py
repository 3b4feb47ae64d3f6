"""The shared tier in memory, on a clock of the test's own; it can lose things as Redis may."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from dynamodb_processor_server.cache.redis.port import (
    MOST_EVENTS,
    EpochChanged,
    LookupRequest,
    LookupResult,
    PollResult,
)

YOUNG = 2.0
LEASE = 1.0


@dataclass(frozen=True, slots=True)
class _Generation:
    name: bytes
    moved: bool
    at: float


class MemoryTier:
    """What replicas share. `clock` gives seconds; `random` makes the values."""

    def __init__(self, clock: Callable[[], float], random: Random) -> None:
        self._clock = clock
        self._random = random
        self._begin()

    def _begin(self) -> None:
        self.epoch = self._value()
        self.events: list[bytes] = [b""]  # the first is number 1
        self.generations: dict[bytes, _Generation] = {}
        self.pages: dict[bytes, tuple[tuple[bytes, ...], bytes, float]] = {}
        self._leases: dict[tuple[bytes, tuple[bytes, ...]], tuple[bytes, float]] = {}

    def _value(self) -> bytes:
        return self._random.randbytes(16).hex().encode()

    def flush(self) -> None:
        """Lose everything."""
        self._begin()

    def evict_generations(self) -> None:
        """Lose what nobody can tell was there."""
        self.generations.clear()

    async def connect(self) -> None:
        """Nothing has to be opened."""

    async def lookup(self, asked: LookupRequest) -> LookupResult:
        """Return the page and the generations."""
        if asked.epoch != self.epoch:
            raise EpochChanged
        now = self._clock()
        known = [self._generation(tag, made=asked.lifetime > 0) for tag in asked.tags]
        names = tuple(generation.name for generation in known)
        settled = not any(g.moved and now - g.at < asked.quarantine for g in known)
        young = any(not g.moved and now - g.at < YOUNG for g in known)
        page = self._page(asked.page, names) if asked.wanted else None
        leased = taken = False
        if page is None and asked.lease is not None and settled:
            lease = self._leases.get((asked.page, names))
            taken = lease is not None and lease[1] > now and lease[0] != asked.lease
            leased = not taken
            if leased:
                self._leases[asked.page, names] = asked.lease, now + LEASE
        return LookupResult(names, len(self.events), settled, young, page, leased, taken)

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
        self, asked: LookupRequest, generations: tuple[bytes, ...], value: bytes, lifetime: float
    ) -> None:
        """Keep a page and give up its lease; one of an earlier epoch is never looked for."""
        if asked.epoch == self.epoch:
            self.pages[asked.page] = generations, value, self._clock() + lifetime
        await self.release(asked, generations)

    async def release(self, asked: LookupRequest, generations: tuple[bytes, ...]) -> None:
        """Give up the lease."""
        lease = self._leases.get((asked.page, generations))
        if lease is not None and lease[0] == asked.lease:
            del self._leases[asked.page, generations]

    async def invalidate(self, tags: Sequence[bytes], event: bytes) -> None:
        """Move tags and append an event."""
        for tag in tags:
            self.generations[tag] = _Generation(self._value(), True, self._clock())
        self.events.append(event)

    async def poll(self, epoch: bytes, after: int, most: int) -> PollResult:
        """Return what was appended after a number."""
        events: Sequence[tuple[int, bytes]] = ()
        if epoch == self.epoch and len(self.events) - after <= MOST_EVENTS:
            numbered = list(enumerate(self.events, 1))
            events = numbered[after : after + most]
        return PollResult(self.epoch, len(self.events), events)

    async def renew(self, epoch: bytes) -> None:
        """Begin a new epoch."""
        if epoch == self.epoch:
            self._begin()

    async def close(self) -> None:
        """Nothing is open."""
