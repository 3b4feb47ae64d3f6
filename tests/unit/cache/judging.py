"""Random schedules played by a model of the cache, and the report of their answers.

Each schedule comes from a seed of its own. Hypothesis repeats parts of its examples, so that a few
hundred of them have far fewer different events.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import Final, NoReturn, TypeVar

from tests.support.lengths import FULL, at_length
from tests.support.warped_time import WarpedLoop
from tests.unit.cache.model import Setting, Step

SCHEDULES: Final = at_length(500, 5_000)
_S = TypeVar("_S", bound=Setting)


def judge_schedules(
    scenario: str,
    make: Callable[[Random], tuple[_S, list[Step]]],
    play: Callable[[_S, list[Step], Random], Awaitable[Counter[str]]],
    report: Callable[[str, str, str], None],
    number: int = SCHEDULES,
) -> tuple[int, Counter[str]]:
    """Play a number of random schedules; return how many were played, and the answers by kind.

    `make` makes the setting and the steps of a schedule. `play` plays it and returns its answers;
    it raises for an answer that is too old. Then the error of a shorter schedule is raised, with
    its steps. The figures are reported in any case. Full runs begin with another seed each time.
    """
    answers: Counter[str] = Counter()
    first, played, wrong = Random().randrange(2**32) if FULL else 0, 0, 0

    def run(seed: int, setting: _S, steps: list[Step]) -> Counter[str]:
        async def playing() -> Counter[str]:
            return await play(setting, steps, Random(seed))

        random.seed(seed)  # for the pauses between attempts
        with asyncio.Runner(loop_factory=WarpedLoop) as runner:
            return runner.run(playing())

    try:
        for seed in range(first, first + number):
            setting, steps = make(Random(seed))
            played, wrong = played + 1, 1
            try:
                answers.update(run(seed, setting, steps))
            except Exception:  # noqa: BLE001 - any error is one of the schedule
                _raise_shorter(partial(run, seed, setting), steps, f"seed {seed} with {setting}")
            wrong = 0
    finally:
        kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(answers.items()))
        report(
            scenario,
            f"{number:,} schedules, 0 with an answer that is too old",
            f"{played:,} schedules, seeds from {first} on, {wrong} wrong; {kinds}",
        )
    return played, answers


def _raise_shorter(
    run: Callable[[list[Step]], object], steps: list[Step], schedule: str
) -> NoReturn:
    """Raise the error of a failed schedule, without the steps that it does not need."""
    error: Exception = AssertionError("the schedule failed only once")

    def fails(fewer: list[Step]) -> bool:
        nonlocal error
        try:
            run(fewer)
        except Exception as raised:  # noqa: BLE001 - any error is one of the schedule
            error = raised
            return True
        return False

    if fails(steps):
        steps = _without_needless(steps, fails)
    text = "\n".join(map(repr, steps))
    error.add_note(f"{schedule}, of whose steps these are enough:\n{text}")
    raise error


def _without_needless(steps: Sequence[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """Return fewer steps that fail as well: first without many at a time, then without any one."""
    left, size = list(steps), len(steps) // 2
    while size:
        at = 0
        while at < len(left):
            fewer = left[:at] + left[at + size :]
            if fails(fewer):
                left = fewer
            else:
                at += size
        size //= 2
    return left
