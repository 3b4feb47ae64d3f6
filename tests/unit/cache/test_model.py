"""Never knowingly stale: random schedules of writers and readers, each answer judged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

import pytest

from tests.unit.cache.judging import judge_schedules
from tests.unit.cache.model import Model, Setting, Step
from tests.unit.cache.schedules import make_setting, make_steps, schedules_of


@pytest.mark.timeout(1_200)
def test_no_page_older_than_an_invalidation_is_served(
    report: Callable[[str, str, str], None],
) -> None:
    """No read after an acknowledged invalidation shows data that was read before it.

    No read that began after the quarantine lacks the write.
    """

    async def play(setting: Setting, steps: list[Step], _: Random) -> Counter[str]:
        model = Model(setting)
        await model.run(steps)
        return model.answers

    played, answers = judge_schedules(
        "races of writers and readers, one replica, simulated time",
        schedules_of(make_setting, make_steps, most=79),
        play,
        report,
    )
    assert min(answers.values()) > played / 10, "too few of a kind to mean much"
