"""Never knowingly stale on two replicas: random schedules, each answer judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings

from tests.support.lengths import FULL, at_length
from tests.support.shared_cache import MemorySharedCache
from tests.support.warped_time import WarpedLoop
from tests.unit.cache.model import Setting, Step
from tests.unit.cache.schedules import drawn_schedules, make_shared_setting, make_shared_step
from tests.unit.cache.shared_model import FragileMemory, SharedModel

SCHEDULES = at_length(500, 5_000)
KINDS = (
    "HIT",
    "SHARED_HIT",
    "COALESCED",
    "STALE",
    "from the shared cache",
    "look-ups failed",
    "not fresh",
)


@pytest.mark.timeout(1_200)
def test_no_page_older_than_an_acknowledged_invalidation_is_served(
    report: Callable[[str, str, str], None],
) -> None:
    """A read after an acknowledged invalidation at either replica shows nothing older.

    No read that began after the quarantine lacks the write. The shared cache loses generations or
    everything; each replica's connection to it is slow at times, and cut off.
    """
    answers: Counter[str] = Counter()

    async def play(setting: Setting, steps: list[Step], random: Random) -> None:
        shared = FragileMemory(MemorySharedCache(asyncio.get_running_loop().time, random))
        model = SharedModel(setting, shared, random)
        answers["schedules"] += 1
        answers["wrong"] += 1
        await model.run(steps)
        answers["wrong"] -= 1
        answers.update(model.answers)

    @settings(max_examples=SCHEDULES, derandomize=not FULL)
    @given(drawn_schedules(make_shared_setting, make_shared_step, most=59))
    def judge(schedule: tuple[Setting, list[Step], Random]) -> None:
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            runner.run(play(*schedule))

    try:
        judge()
    finally:
        played, wrong = answers.pop("schedules"), answers.pop("wrong")
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(answers.items()))
        report(
            "races of two replicas, simulated time: generations lost, ways cut, indexes late",
            f"{SCHEDULES:,} schedules, 0 with an answer that is too old",
            f"{played:,} schedules, {wrong} wrong; {kinds}",
        )
    assert played >= SCHEDULES
    for kind in (*KINDS, "acknowledged", "not acknowledged"):
        assert answers[kind] > played / 10, f"too few of {kind} to mean much"
