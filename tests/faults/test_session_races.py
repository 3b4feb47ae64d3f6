"""Sessions never go back in time on a real Redis: the schedules of the model, in real time."""

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
from tests.unit.cache.model import Step
from tests.unit.cache.session_model import SESSION_KINDS, SessionModel
from tests.unit.cache.session_replicas import SessionSetting
from tests.unit.cache.session_schedules import make_session_setting, make_session_steps

SCHEDULES: Final = at_length(12, 240)
# More at a time would keep the loop so busy that most commands to Redis would come too late.
SIDE_BY_SIDE: Final = 24
# So short that many events of a few seconds happen after it.
QUARANTINE: Final = Quarantine(table=0.3, index=1.0)
# Seconds of the longest read: none hangs, as that would take a real minute.
LONGEST_READ: Final = 0.5
KINDS: Final = (
    *(kind for kind in SESSION_KINDS if kind != "reads that hang"),
    "keys lost",
    "connections broken",
)


@pytest_asyncio.fixture
async def control(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client that injects the faults of Redis."""
    async with Redis.from_url(redis_server.url) as client:
        yield client


def make_real_setting(random: Random) -> SessionSetting:
    """Return the setting of one schedule of replicas that share a cache; its times are short."""
    setting = make_session_setting(random)
    while not setting.shares:
        setting = make_session_setting(random)
    config = {
        "cache_ttl": random.choice([0.5, 2.0, 300.0]),
        "stale_while_revalidate": random.choice([0.0, 2.0]),
        "stale_if_error": random.choice([0.0, 60.0]),
    }
    return replace(setting, config=config, quarantine=QUARANTINE)


def make_real_steps(random: Random) -> list[Step]:
    """Return some steps, which come sooner than where time costs nothing."""
    return [
        replace(step, after=step.after / 2, takes=min(step.takes / 4, LONGEST_READ))
        for step in make_session_steps(random)
    ]


async def test_no_session_goes_back_in_time_on_redis(
    redis_server: RedisServer, control: Redis, report: Callable[[str, str, str], None]
) -> None:
    """Every answer shows what the session was shown and wrote, with any data or connection lost.

    Schedules run side by side, each under a prefix of its own. The order of events differs from run
    to run; each answer is judged by what its session had been shown when its call began.
    """
    answers: Counter[str] = Counter()
    slots = asyncio.Semaphore(SIDE_BY_SIDE)
    first = Random().randrange(2**32) if FULL else 0

    async def play(seed: int) -> None:
        random = Random(seed)
        async with slots:
            setting = make_real_setting(random)
            prefix = f"sessions-{seed}:"
            shared = FragileRedis(redis_server.url, prefix, setting.replicas, control, random)
            model = SessionModel(setting, shared, random)
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
        "sessions that wander between two or three replicas on a real Redis",
        "200 schedules or more, 0 answers older than the session had seen",
        f"{SCHEDULES:,} schedules, seeds from {first} on, in {took:.0f} s, {len(failed)} wrong; "
        f"{kinds}",
    )
    assert not failed, failed[:3]
    for kind in KINDS:
        assert answers[kind] or not FULL, f"no {kind}, so the schedules mean little"
