"""Sessions see what they wrote and never go back in time: random schedules, each answer judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

import pytest

from tests.support.lengths import at_length
from tests.support.shared_cache import MemorySharedCache
from tests.unit.cache.fragile_caches import FragileMemory
from tests.unit.cache.judging import judge_schedules
from tests.unit.cache.model import Step
from tests.unit.cache.schedules import schedules_of
from tests.unit.cache.session_model import SESSION_KINDS, SessionModel
from tests.unit.cache.session_replicas import SessionSetting
from tests.unit.cache.session_schedules import make_session_setting, make_session_steps

SCHEDULES: Final = at_length(100, 5_000)


@pytest.mark.timeout(3_600)
def test_no_session_goes_back_in_time(report: Callable[[str, str, str], None]) -> None:
    """Every page and item that a session gets shows what it was shown before and what it wrote.

    One to three replicas share a cache, which loses data and is cut off, or have only their own.
    Clocks differ, eventual reads and the table's stream lag, records are lost or come again, and
    reads hang: a caller that waits for one reads for itself.
    """

    async def play(setting: SessionSetting, steps: list[Step], random: Random) -> Counter[str]:
        shared = None
        if setting.shares:
            shared = FragileMemory(MemorySharedCache(asyncio.get_running_loop().time, random))
        model = SessionModel(setting, shared, random)
        await model.run(steps)
        return model.answers

    played, answers = judge_schedules(
        "sessions that wander between replicas, simulated time: clocks differ, streams lag",
        schedules_of(make_session_setting, make_session_steps, most=45),
        play,
        report,
        SCHEDULES,
    )
    for kind in SESSION_KINDS:
        assert answers[kind] > played / 10, f"too few of {kind} to mean much"
