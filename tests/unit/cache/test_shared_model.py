"""Never knowingly stale on two replicas: random schedules, each answer judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from tests.support.shared_cache import MemorySharedCache
from tests.unit.cache.fragile_caches import FragileMemory
from tests.unit.cache.judging import judge_schedules
from tests.unit.cache.model import Setting, Step
from tests.unit.cache.schedules import make_shared_setting, make_shared_steps, schedules_of
from tests.unit.cache.shared_model import ANSWER_KINDS, SharedModel


@pytest.mark.timeout(1_200)
def test_no_page_older_than_an_acknowledged_invalidation_is_served(
    report: Callable[[str, str, str], None],
) -> None:
    """A read after an acknowledged invalidation at either replica shows nothing older.

    No read that began after the quarantine lacks the write. The shared cache loses generations or
    everything; each replica's connection to it is slow at times, and cut off.
    """

    async def play(setting: Setting, steps: list[Step], random: Random) -> Counter[str]:
        shared = FragileMemory(MemorySharedCache(asyncio.get_running_loop().time, random))
        model = SharedModel(setting, shared, random)
        await model.run(steps)
        return model.answers

    played, answers = judge_schedules(
        "races of two replicas, simulated time: generations lost, ways cut, indexes late",
        schedules_of(make_shared_setting, make_shared_steps, most=59),
        play,
        report,
    )
    for kind in ANSWER_KINDS:
        assert answers[kind] > played / 10, f"too few of {kind} to mean much"
