"""Sessions never go back in time on a real Redis: the schedules of the model, in real time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from random import Random
from typing import Final

from tests.faults.races import (
    QUARANTINE,
    REDIS_FAULTS,
    Schedule,
    make_config,
    open_control,
    run_races,
)
from tests.support.fragile_redis import FragileRedis
from tests.support.lengths import FULL, at_length
from tests.support.redis_server import RedisServer
from tests.unit.cache.model import Step
from tests.unit.cache.session_model import SESSION_KINDS, SessionModel
from tests.unit.cache.session_replicas import SessionSetting
from tests.unit.cache.session_schedules import make_session_setting, make_session_steps

SCHEDULES: Final = at_length(12, 240)
MOST_STEPS: Final = at_length(25, 50)
SIDE_BY_SIDE: Final = 24
# Seconds of the longest read: none hangs, as that would take a real minute.
LONGEST_READ: Final = 0.5
KINDS: Final = (*(kind for kind in SESSION_KINDS if kind != "reads that hang"), *REDIS_FAULTS)


def make_real_setting(random: Random) -> SessionSetting:
    """Return the setting of one schedule of replicas that share a cache."""
    setting = make_session_setting(random)
    while not setting.shares:
        setting = make_session_setting(random)
    return replace(setting, config=make_config(random), quarantine=QUARANTINE)


def make_real_steps(random: Random) -> list[Step]:
    """Return some steps, which come sooner than where time costs nothing."""
    return [
        replace(step, after=step.after / 2, takes=min(step.takes / 4, LONGEST_READ))
        for step in make_session_steps(random)
    ]


async def test_no_session_goes_back_in_time_on_redis(
    redis_server: RedisServer, report: Callable[[str, str, str], None]
) -> None:
    """Every answer shows what the session was shown and wrote, with any data or connection lost.

    Each answer is judged by what its session had been shown when its call began.
    """
    async with open_control(redis_server) as control:

        def make(seed: int) -> Schedule:
            random = Random(seed)
            setting = make_real_setting(random)
            prefix = f"sessions-{seed}:"
            shared = FragileRedis(redis_server.url, prefix, setting.replicas, control, random)
            model = SessionModel(setting, shared, random)
            steps = (make_real_steps(random) for _ in range(random.randrange(10, MOST_STEPS)))
            return Schedule(model, shared, list(chain.from_iterable(steps)))

        races = await run_races(make, SCHEDULES, SIDE_BY_SIDE)
    report(
        "sessions that wander between two or three replicas on a real Redis",
        "200 schedules or more, 0 answers older than the session had seen",
        races.summary,
    )
    assert not races.failed, races.failed[:3]
    for kind in KINDS:
        assert races.answers[kind] or not FULL, f"no {kind}, so the schedules mean little"
