"""Never knowingly stale: random schedules of writers and readers, each answer judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given, settings

from tests.support.lengths import FULL, at_length
from tests.support.warped_time import WarpedLoop
from tests.unit.cache.model import Model, Setting, Step
from tests.unit.cache.schedules import drawn_schedules, make_setting, make_step

SCHEDULES = at_length(500, 5_000)


@pytest.mark.timeout(1_200)
def test_no_page_older_than_an_invalidation_is_served(
    report: Callable[[str, str, str], None],
) -> None:
    """No read after an acknowledged invalidation shows data that was read before it.

    No read that began after the quarantine lacks the write.
    """
    answers: Counter[str] = Counter()

    async def play(setting: Setting, steps: list[Step]) -> None:
        model = Model(setting)
        answers["schedules"] += 1
        answers["wrong"] += 1
        await model.run(steps)
        answers["wrong"] -= 1
        answers.update(model.answers)

    @settings(max_examples=SCHEDULES, derandomize=not FULL)
    @given(drawn_schedules(make_setting, make_step, most=79))
    def judge(schedule: tuple[Setting, list[Step], Random]) -> None:
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            setting, steps, _ = schedule
            runner.run(play(setting, steps))

    try:
        judge()
    finally:
        played, wrong = answers.pop("schedules"), answers.pop("wrong")
        statuses = ", ".join(f"{status} {number:,}" for status, number in sorted(answers.items()))
        report(
            "races of writers and readers, one replica, simulated time",
            f"{SCHEDULES:,} schedules, 0 with an answer that is too old",
            f"{played:,} schedules, {wrong} wrong; {statuses}",
        )
    assert played >= SCHEDULES
    assert min(answers.values()) > played / 10, "too few of a kind to mean much"
