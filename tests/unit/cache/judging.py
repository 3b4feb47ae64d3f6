"""Random schedules played by a model of the cache, and the report of their answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.lengths import FULL, at_length
from tests.support.warped_time import WarpedLoop
from tests.unit.cache.model import Setting, Step

SCHEDULES: Final = at_length(250, 5_000)
_S = TypeVar("_S", bound=Setting)


def judge_schedules(
    scenario: str,
    schedules: st.SearchStrategy[tuple[_S, list[Step], Random]],
    play: Callable[[_S, list[Step], Random], Awaitable[Counter[str]]],
    report: Callable[[str, str, str], None],
    number: int = SCHEDULES,
) -> tuple[int, Counter[str]]:
    """Play a number of random schedules; return how many were played, and the answers by kind.

    `play` plays one schedule and returns its answers; it raises for an answer that is too old. Then
    the schedule is shrunk and the error raised. The figures are reported in any case.
    """
    answers: Counter[str] = Counter()
    played = wrong = 0

    @settings(max_examples=number, derandomize=not FULL)
    @given(schedules)
    def judge(schedule: tuple[_S, list[Step], Random]) -> None:
        nonlocal played, wrong
        played += 1
        wrong += 1
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            answers.update(runner.run(_played(schedule)))
        wrong -= 1

    async def _played(schedule: tuple[_S, list[Step], Random]) -> Counter[str]:
        return await play(*schedule)

    try:
        judge()
    finally:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(answers.items()))
        report(
            scenario,
            f"{number:,} schedules, 0 with an answer that is too old",
            f"{played:,} schedules, {wrong} wrong; {kinds}",
        )
    assert played >= number
    return played, answers
