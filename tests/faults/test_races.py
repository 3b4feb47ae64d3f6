"""Never knowingly stale on a real Redis: the schedules of the models, in real time."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from itertools import chain
from random import Random
from typing import Final

import pytest_asyncio
from redis.asyncio import Redis

from dynamodb_processor_server.cache.quarantine import Quarantine
from tests.support.fragile_redis import FragileRedis
from tests.support.lengths import FULL, at_length
from tests.support.redis_server import RedisServer
from tests.unit.cache.model import Setting, Step
from tests.unit.cache.schedules import (
    make_shared_setting,
    make_shared_step,
    with_late_indexes,
)
from tests.unit.cache.shared_model import ANSWER_KINDS, REPLICAS, SharedModel

SCHEDULES: Final = at_length(24, 240)
# More at a time would keep the loop so busy that most commands to Redis would come too late.
SIDE_BY_SIDE: Final = 40
# So short that many events of a few seconds happen after it.
QUARANTINE: Final = Quarantine(table=0.3, index=1.0)
AROUND_QUARANTINES: Final = ((0.7, 0.8),)
KINDS: Final = (*ANSWER_KINDS, "keys lost", "connections broken")


@pytest_asyncio.fixture
async def control(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client that injects the faults of Redis."""
    async with Redis.from_url(redis_server.url) as client:
        yield client


def make_real_setting(random: Random) -> Setting:
    """Return the setting of one schedule: times are shorter than where they cost nothing."""
    setting = make_shared_setting(random)
    config = {
        "cache_ttl": random.choice([0.5, 2.0, 300.0]),
        "stale_while_revalidate": random.choice([0.0, 2.0]),
        "stale_if_error": random.choice([0.0, 60.0]),
    }
    return replace(setting, config=config, quarantine=QUARANTINE)


def make_real_steps(random: Random) -> list[Step]:
    """Return one step, which comes sooner than where time costs nothing."""
    step = make_shared_step(random)
    if step.act == "read":
        step = replace(step, takes=step.takes / 4)
    return with_late_indexes(replace(step, after=step.after / 2), random, AROUND_QUARANTINES)


async def test_nothing_older_than_an_acknowledged_invalidation_is_served(
    redis_server: RedisServer, control: Redis, report: Callable[[str, str, str], None]
) -> None:
    """This holds at either replica, with any lost data and any broken connections.

    Schedules run side by side, each under a prefix of its own. The order of events differs from run
    to run; each answer is judged by its request time and the invalidations acknowledged until then.
    """
    answers: Counter[str] = Counter()
    slots = asyncio.Semaphore(SIDE_BY_SIDE)

    first = Random().randrange(2**32) if FULL else 0

    async def play(seed: int) -> None:
        random = Random(seed)
        async with slots:
            prefix = f"races-{seed}:"
            shared = FragileRedis(redis_server.url, prefix, REPLICAS, control, random)
            model = SharedModel(make_real_setting(random), shared, random)
            try:
                steps = (make_real_steps(random) for _ in range(random.randrange(10, 50)))
                await model.run(list(chain.from_iterable(steps)))
            finally:
                await shared.close()
        answers.update(model.answers)
        answers["keys lost"] += shared.lost
        answers["connections broken"] += shared.broken

    began = time.monotonic()
    ends = await asyncio.gather(*map(play, range(first, first + SCHEDULES)), return_exceptions=True)
    took = time.monotonic() - began
    failed = [(seed, error) for seed, error in enumerate(ends, first) if error is not None]
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(answers.items()))
    report(
        "races of two replicas on a real Redis: keys lost, connections broken, indexes late",
        "200 schedules or more, 0 answers too old",
        f"{SCHEDULES:,} schedules, seeds from {first} on, in {took:.0f} s, {len(failed)} wrong; "
        f"{kinds}",
    )
    assert not failed, failed[:3]
    for kind in KINDS:
        assert answers[kind] > SCHEDULES // 5 or not FULL, f"too few of {kind} to mean much"
