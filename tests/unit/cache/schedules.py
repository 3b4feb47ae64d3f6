"""Random schedules for the models of `model.py` and `shared_model.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain
from random import Random
from typing import Final, TypeVar

from dynamodb_processor_server.cache.quarantine import Quarantine
from dynamodb_processor_server.reader import CacheMode
from tests.unit.cache.model import DEVICES, LAGS, Setting, Step
from tests.unit.cache.shared_model import REPLICAS

_S = TypeVar("_S", bound=Setting)

_SHORT: Final = Quarantine(table=0.3, index=1.5)
_LATE_INDEX: Final = 0.03
#: Seconds to a moment between the quarantines, and from there to one after both.
AROUND_QUARANTINES: Final = ((0.8, 1.2), (5.0, 7.0))
_SHARED_ACTS: Final = {
    "read": 100,
    "write": 10,
    "invalidate": 8,
    "invalidate_table": 1,
    "evict": 3,
    "flush": 1,
    "cut": 6,
}


def make_setting(random: Random) -> Setting:
    """Return the setting of one schedule."""
    return Setting(
        config={
            "cache_ttl": random.choice([5.0, 5.0, 30.0, 300.0]),
            "stale_while_revalidate": random.choice([0.0, 20.0, 20.0]),
            "stale_if_error": random.choice([0.0, 60.0]),
        },
        most_generations=random.choice([1, 3, 6, 1_000]),
        store_bytes=random.choice([10_000, 1_000_000]),
    )


def make_shared_setting(random: Random) -> Setting:
    """Return the setting of one schedule of several replicas.

    It lasts some seconds only; with a longer quarantine little would be cached by its end.
    """
    most = random.choice([3, 1_000, 1_000])
    quarantine = random.choice([LAGS, _SHORT, _SHORT])
    return replace(make_setting(random), most_generations=most, quarantine=quarantine)


def make_steps(random: Random) -> list[Step]:
    """Return an event on one replica, or several."""
    return with_late_indexes(make_step(random), random, AROUND_QUARANTINES)


def make_shared_steps(random: Random) -> list[Step]:
    """Return an event on one of several replicas or between them, or several."""
    return with_late_indexes(make_shared_step(random), random, AROUND_QUARANTINES)


def schedules_of(
    make_setting: Callable[[Random], _S], make_steps: Callable[[Random], list[Step]], most: int
) -> Callable[[Random], tuple[_S, list[Step]]]:
    """Return what makes schedules of up to `most` events or groups of events."""

    def make(random: Random) -> tuple[_S, list[Step]]:
        setting, number = make_setting(random), random.randint(10, most)
        return setting, list(chain.from_iterable(make_steps(random) for _ in range(number)))

    return make


def with_late_indexes(
    step: Step, random: Random, around_quarantines: Sequence[tuple[float, float]]
) -> list[Step]:
    """Return the step or, sometimes, events that would be rare by chance.

    An index is read while it lags, and once more later; the page of the first read must not have
    been stored. `around_quarantines` are seconds to a moment between two quarantines, and from
    there to one after both.
    """
    if random.random() >= _LATE_INDEX:
        return [step]
    sooner, later = random.choice(around_quarantines)
    number = random.randrange(len(DEVICES))
    plain = replace(step, after=0.0, which=number, mode=CacheMode.DEFAULT, staleness=None)
    plain = replace(plain, takes=0.0, fails=False, leaves_after=None, budgeted=False)
    read = replace(plain, act="read", which=len(DEVICES) + 1 + number, lag=1.0)
    return [
        replace(plain, act="write"),
        replace(plain, act="invalidate"),
        replace(read, after=sooner),
        replace(read, after=later),
    ]


def make_step(random: Random) -> Step:
    """Return an event on one replica."""
    return Step(
        after=random.choice([0.0, 0.0, 0.1, 0.5, 1.0, 2.0, 9.0]),
        act=random.choice(["write", "write", "invalidate", "invalidate"] + ["read"] * 10)
        if random.random() < 0.98
        else "invalidate_table",
        which=random.choice([0, 0, 0, 1, 1, *range(9)]),
        mode=random.choice([CacheMode.DEFAULT] * 12 + list(CacheMode)),
        staleness=random.choice([None] * 6 + [0.0, 1.0, 10.0]),
        takes=random.choice([0.0, 0.3, 1.0, 5.0]),
        looks_at=random.choice([0.0, 0.5, 1.0]),
        lag=random.choice([0.0, 0.5, 1.0]),
        fails=random.random() < 0.1,
        leaves_after=random.choice([None] * 4 + [0.2, 2.0]),
        budgeted=random.random() < 0.1,
    )


def make_shared_step(random: Random) -> Step:
    """Return an event on one of several replicas or between them."""
    step = replace(
        make_step(random),
        after=random.choice([0.0, 0.0, 0.02, 0.05, 0.1, 0.3, 0.6, 2.0]),
        act=random.choices(list(_SHARED_ACTS), list(_SHARED_ACTS.values()))[0],
        replica=random.randrange(REPLICAS),
    )
    if step.act == "read" and random.random() < 0.8:
        # Most reads are repeated, and soon, so that there are pages to share.
        which = random.choice([0, 0, 1, 4])  # Two partitions, and the index's view of the first.
        return replace(step, which=which, takes=min(step.takes, 0.3), fails=False)
    return step
