"""Random schedules played by a model of the cache, and the report of their answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lengths import FULL, at_length
from tests.support.warped_time import WarpedLoop
from tests.unit.cache.model import Setting, Step

SCHEDULES: Final = at_length(500, 5_000)
Schedule = tuple[Setting, list[Step], Random]


def judge_schedules(
    scenario: str,
    schedules: st.SearchStrategy[Schedule],
    play: Callable[[Setting, list[Step], Random], Awaitable[Counter[str]]],
    report: Callable[[str, str, str], None],
) -> tuple[int, Counter[str]]:
    """Play random schedules; return how many were played, and the answers by kind.

    `play` plays one schedule and returns its answers; it raises for an answer that is too old. Then
    the schedule is shrunk and the error raised. The figures are reported in any case.
    """
    answers: Counter[str] = Counter()
    played = wrong = 0

    @settings(max_examples=SCHEDULES, derandomize=not FULL)
    @given(schedules)
    def judge(schedule: Schedule) -> None:
        nonlocal played, wrong
        played += 1
        wrong += 1
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            answers.update(runner.run(_played(schedule)))
        wrong -= 1

    async def _played(schedule: Schedule) -> Counter[str]:
        return await play(*schedule)

    try:
        judge()
    finally:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(answers.items()))
        report(
            scenario,
            f"{SCHEDULES:,} schedules, 0 with an answer that is too old",
            f"{played:,} schedules, {wrong} wrong; {kinds}",
        )
    assert played >= SCHEDULES
    return played, answers
