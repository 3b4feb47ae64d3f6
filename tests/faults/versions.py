"""A load of reads and writes at several replicas; acknowledged writes decide the right answers."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from dynamodb_processor.v1.cache_service_pb2 import InvalidateCacheRequest
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from tests.faults.load import BYPASS, DEADLINE, Outcome, Reads, measure
from tests.support.running import Service

_READERS: Final = 6
_WRITERS: Final = 3
_PAUSE: Final = 0.01  # Seconds between one caller's reads: a steady load below the cores' capacity.


@dataclass(frozen=True, slots=True)
class Outcomes:
    """The outcome of reads and of invalidations."""

    reads: Outcome = field(default_factory=Outcome)
    invalidations: Outcome = field(default_factory=Outcome)


class VersionedLoad:
    """Reads of every kind, and writers that invalidate their writes, at any replica.

    Each write adds one event to a user's, and `write` puts it, given the user and its number.
    """

    def __init__(
        self,
        replicas: Sequence[Service],
        write: Callable[[str, int], None],
        users: Sequence[str],
        seed: int,
    ) -> None:
        self._replicas = replicas
        self._write = write
        self._users = users
        self._random = random.Random(seed)
        # How many events each user has: which may be seen, are written, must be seen.
        self._begun: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._acknowledged: Counter[str] = Counter()

    async def run(
        self, seconds: float, enough: Callable[[Outcomes], bool] = lambda outcomes: True
    ) -> Outcomes:
        """Begin calls for so many seconds, and wait for their ends.

        On a slow machine it takes longer, until there are enough of them.
        """
        outcomes = Outcomes()
        until = time.monotonic() + seconds

        async def go_on(call: Callable[[Outcomes], Awaitable[None]]) -> None:
            while time.monotonic() < until or not enough(outcomes):
                await call(outcomes)
                await asyncio.sleep(_PAUSE)

        async with asyncio.TaskGroup() as group:
            for _ in range(_READERS):
                group.create_task(go_on(self._read))
            for number in range(_WRITERS):  # Each with users of its own.
                group.create_task(go_on(partial(self._change, self._users[number::_WRITERS])))
        return outcomes

    async def _read(self, outcomes: Outcomes) -> None:
        """Read one user's events: at least those acknowledged when the read began.

        A page that was not cached has every write that completed before. Items are cached one by
        one, so those of writes that are not acknowledged may be there or not.
        """
        user = self._random.choice(self._users)
        reads = Reads(self._random.choice(self._replicas))

        def get(user: str) -> Awaitable[list[int]]:
            return reads.get(user, self._begun[user] + 3)

        cached: Sequence[Callable[[str], Awaitable[list[int]]]] = (
            reads.page, reads.page, reads.page, reads.count, reads.stream, get,
        )  # fmt: skip
        uncached: Sequence[Callable[[str], Awaitable[list[int]]]] = (
            lambda user: reads.page(user, BYPASS),
        )
        kind = self._random.randrange(len(cached) + len(uncached))
        is_get = kind == len(cached) - 1
        if kind < len(cached):
            call, least = cached[kind](user), self._acknowledged[user]
        else:
            call, least = uncached[kind - len(cached)](user), self._written[user]

        def is_right(seen: list[int]) -> bool:
            if is_get:
                return {*range(1, least + 1)} <= {*seen} <= {*range(1, self._begun[user] + 1)}
            return seen == list(range(1, len(seen) + 1)) and least <= len(seen) <= self._begun[user]

        await measure(outcomes.reads, call, is_right)

    async def _change(self, users: Sequence[str], outcomes: Outcomes) -> None:
        """Write one more event of one of the users and invalidate them, which may be refused."""
        user = self._random.choice(users)
        self._begun[user] += 1
        number = self._begun[user]
        await asyncio.to_thread(self._write, user, number)
        self._written[user] = number
        replica = self._random.choice(self._replicas)
        if await measure(outcomes.invalidations, invalidate(replica, user), lambda _: True):
            self._acknowledged[user] = number


async def invalidate(replica: Service, user: str) -> None:
    """Invalidate the events of a user."""
    key = Item(attributes={"user_id": AttributeValue(s=user)})
    request = InvalidateCacheRequest(table="events", partition_key=key)
    await replica.cache.InvalidateCache(request, metadata=replica.metadata(), timeout=DEADLINE)
