"""Runs the schedules of a cache's model side by side on a real Redis, in real time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from redis.asyncio import Redis

from dynamodb_processor_server.cache.quarantine import Quarantine
from tests.support.fragile_redis import FragileRedis
from tests.support.lengths import FULL
from tests.support.redis_server import RedisServer
from tests.unit.cache.model import Step

#: So short that many events of a few seconds happen after it.
QUARANTINE: Final = Quarantine(table=0.3, index=1.0)
#: Faults of Redis, as `Races` counts them.
REDIS_FAULTS: Final = ("keys lost", "connections broken")


class Model(Protocol):
    """Plays a schedule, and raises for a wrong answer."""

    answers: Counter[str]

    async def run(self, steps: list[Step]) -> None:
        """Play the steps in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Schedule:
    """A model, its fragile Redis under a prefix of its own, and the steps to play."""

    model: Model
    redis: FragileRedis
    steps: list[Step]


@dataclass(frozen=True, slots=True)
class Races:
    """The answers of all schedules by kind, the failed ones with their seeds, and a summary."""

    answers: Counter[str]
    failed: Sequence[tuple[int, BaseException]]
    summary: str


@asynccontextmanager
async def open_control(server: RedisServer) -> AsyncIterator[Redis]:
    """Open a client that injects the faults of Redis."""
    async with Redis.from_url(server.url) as client:
        yield client


def make_config(random: Random) -> dict[str, float]:
    """Return a table's cache settings, with times shorter than where they cost nothing."""
    return {
        "cache_ttl": random.choice([0.5, 2.0, 300.0]),
        "stale_while_revalidate": random.choice([0.0, 2.0]),
        "stale_if_error": random.choice([0.0, 60.0]),
    }


async def run_races(make: Callable[[int], Schedule], count: int, side_by_side: int) -> Races:
    """Play the schedules of `count` seeds, `side_by_side` at a time.

    More at a time would keep the loop so busy that most commands to Redis would come too late. The
    order of events differs from run to run; the full form begins with another seed each time.
    """
    answers: Counter[str] = Counter()
    slots = asyncio.Semaphore(side_by_side)
    first = Random().randrange(2**32) if FULL else 0

    async def play(seed: int) -> None:
        async with slots:
            schedule = make(seed)
            try:
                await schedule.model.run(schedule.steps)
            finally:
                await schedule.redis.close()
        answers.update(schedule.model.answers)
        answers["keys lost"] += schedule.redis.lost
        answers["connections broken"] += schedule.redis.broken

    began = time.monotonic()
    ends = await asyncio.gather(*map(play, range(first, first + count)), return_exceptions=True)
    took = time.monotonic() - began
    failed = [(seed, error) for seed, error in enumerate(ends, first) if error is not None]
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(answers.items()))
    summary = f"{count:,} schedules, seeds from {first} on, in {took:.0f} s, {len(failed)} wrong"
    return Races(answers, failed, f"{summary}; {kinds}")
