"""Never knowingly stale: random schedules of writers and readers, each answer judged."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from random import Random

from dynamodb_processor_server.reading.port import CacheMode
from tests.unit.caching.model import Model, Setting, Step
from tests.unit.reading.warped_time import WarpedLoop

SCHEDULES = 500


def make_setting(random: Random) -> Setting:
    """Return what one schedule is played on."""
    return Setting(
        declared={
            "cache_ttl": random.choice([5.0, 30.0, 300.0]),
            "stale_while_revalidate": random.choice([0.0, 20.0]),
            "stale_if_error": random.choice([0.0, 60.0]),
        },
        most_generations=random.choice([1, 3, 6, 1_000]),
        store_bytes=random.choice([6_000, 1_000_000]),
    )


def make_step(random: Random) -> Step:
    """Return something that happens."""
    return Step(
        after=random.choice([0.0, 0.0, 0.1, 0.5, 1.0, 2.0, 9.0]),
        act=random.choice(["write", "write", "invalidate", "invalidate"] + ["read"] * 10)
        if random.random() < 0.98
        else "invalidate_table",
        which=random.randrange(9),
        mode=random.choice([CacheMode.DEFAULT] * 12 + list(CacheMode)),
        staleness=random.choice([None] * 6 + [0.0, 1.0, 10.0]),
        takes=random.choice([0.0, 0.3, 1.0, 5.0]),
        looks_at=random.choice([0.0, 0.5, 1.0]),
        lag=random.choice([0.0, 0.5, 1.0]),
        fails=random.random() < 0.1,
        leaves_after=random.choice([None] * 4 + [0.2, 2.0]),
        budgeted=random.random() < 0.1,
    )


def test_nothing_older_than_an_invalidation_is_served(show_line: Callable[[str], None]) -> None:
    """No read that began after an invalidation was acknowledged shows what was read before it.

    And none that began after the quarantine shows what was there before the write.
    """
    answers: Counter[str] = Counter()

    async def play(seed: int) -> None:
        random = Random(seed)
        model = Model(make_setting(random))
        await model.run([make_step(random) for _ in range(random.randrange(10, 80))])
        answers.update(model.answers)

    for seed in range(SCHEDULES):
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            try:
                runner.run(play(seed))
            except AssertionError as error:
                raise AssertionError(f"schedule {seed}: {error}") from error
    statuses = ", ".join(f"{status} {number}" for status, number in sorted(answers.items()))
    show_line(f"cache model: {SCHEDULES} schedules, answers: {statuses}; none too old")
    assert min(answers.values()) > SCHEDULES / 10, "too few of a kind to mean much"
