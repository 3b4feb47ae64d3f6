"""Never knowingly stale on two replicas: random schedules, each answer judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import settings

from tests.support.shared_tier import MemoryTier
from tests.unit.caching.model import Step
from tests.unit.caching.shared_model import REPLICAS, SharedModel
from tests.unit.caching.test_model import make_setting, make_step
from tests.unit.reading.warped_time import WarpedLoop

SCHEDULES = 500
DEEP_SCHEDULES = 5_000
_ACTS = {
    "read": 100,
    "write": 10,
    "invalidate": 6,
    "invalidate_table": 1,
    "evict": 3,
    "flush": 1,
    "cut": 3,
}


def make_shared_step(random: Random) -> Step:
    """Return something that happens at one of the replicas or between them."""
    step = replace(
        make_step(random),
        after=random.choice([0.0, 0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 2.0]),
        act=random.choices(list(_ACTS), list(_ACTS.values()))[0],
        replica=random.randrange(REPLICAS),
    )
    if step.act == "read" and random.random() < 0.8:
        # Most of what is asked is asked again, and soon, so that there is something to share.
        return replace(step, which=step.which % 2, takes=min(step.takes, 0.3), fails=False)
    return step


@pytest.mark.timeout(3_600)
def test_nothing_older_than_an_acknowledged_invalidation_is_served(
    show_line: Callable[[str], None],
) -> None:
    """By either replica, to no read that began after an invalidation at either was acknowledged.

    And none that began after the quarantine shows what was there before the write. The tier loses
    generations or everything; each replica's way to it is slow at times, and cut off.
    """
    answers: Counter[str] = Counter()
    schedules = SCHEDULES if settings().derandomize else DEEP_SCHEDULES

    async def play(seed: int) -> None:
        random = Random(seed)
        tier = MemoryTier(asyncio.get_running_loop().time, random)
        model = SharedModel(make_setting(random), tier, random)
        await model.run([make_shared_step(random) for _ in range(random.randrange(10, 60))])
        answers.update(model.answers)

    for seed in range(schedules):
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            try:
                runner.run(play(seed))
            except AssertionError as error:
                raise AssertionError(f"schedule {seed}: {error}") from error
    kinds = ", ".join(f"{kind} {number}" for kind, number in sorted(answers.items()))
    show_line(f"shared cache model: {schedules} schedules, {kinds}; none too old")
    for kind in ("HIT", "COALESCED", "from the tier", "look-ups failed", "not fresh"):
        assert answers[kind] > schedules / 10, f"too few of {kind} to mean much"
    for kind in ("acknowledged", "not acknowledged"):
        assert answers[kind] > schedules / 10, f"too few {kind}"
