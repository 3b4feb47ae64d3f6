"""Never knowingly stale on a real Redis: the schedules of the models, in real time."""

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
from tests.unit.cache.model import Setting, Step
from tests.unit.cache.schedules import (
    make_shared_setting,
    make_shared_step,
    with_late_indexes,
)
from tests.unit.cache.shared_model import ANSWER_KINDS, REPLICAS, SharedModel

SCHEDULES: Final = at_length(24, 240)
SIDE_BY_SIDE: Final = 40
AROUND_QUARANTINES: Final = ((0.7, 0.8),)
KINDS: Final = (*ANSWER_KINDS, *REDIS_FAULTS)


def make_real_setting(random: Random) -> Setting:
    """Return the setting of one schedule."""
    setting = make_shared_setting(random)
    return replace(setting, config=make_config(random), quarantine=QUARANTINE)


def make_real_steps(random: Random) -> list[Step]:
    """Return one step, which comes sooner than where time costs nothing."""
    step = make_shared_step(random)
    if step.act == "read":
        step = replace(step, takes=step.takes / 4)
    return with_late_indexes(replace(step, after=step.after / 2), random, AROUND_QUARANTINES)


async def test_nothing_older_than_an_acknowledged_invalidation_is_served(
    redis_server: RedisServer, report: Callable[[str, str, str], None]
) -> None:
    """This holds at either replica, with any lost data and any broken connections.

    Each answer is judged by its request time and the invalidations acknowledged until then.
    """
    async with open_control(redis_server) as control:

        def make(seed: int) -> Schedule:
            random = Random(seed)
            shared = FragileRedis(redis_server.url, f"races-{seed}:", REPLICAS, control, random)
            model = SharedModel(make_real_setting(random), shared, random)
            steps = (make_real_steps(random) for _ in range(random.randrange(10, 50)))
            return Schedule(model, shared, list(chain.from_iterable(steps)))

        races = await run_races(make, SCHEDULES, SIDE_BY_SIDE)
    report(
        "races of two replicas on a real Redis: keys lost, connections broken, indexes late",
        "200 schedules or more, 0 answers too old",
        races.summary,
    )
    assert not races.failed, races.failed[:3]
    for kind in KINDS:
        assert races.answers[kind] > SCHEDULES // 5 or not FULL, f"too few of {kind} to mean much"
