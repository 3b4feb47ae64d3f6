"""Random schedules for the model of `session_model.py`."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Final

from dynamodb_processor_server.reader import CacheMode
from tests.unit.cache.model import Bound, Step
from tests.unit.cache.schedules import (
    AROUND_QUARANTINES,
    make_shared_setting,
    make_step,
    with_late_indexes,
)
from tests.unit.cache.session_model import HANGS
from tests.unit.cache.session_replicas import CLOCK_SKEW, SessionSetting

SESSIONS: Final = 2
# Seconds by which a clock is fast: two of them differ by `CLOCK_SKEW` at most.
_FAST: Final = 0.499 * CLOCK_SKEW
_CLOCKS: Final = (0.0, _FAST, _FAST, -_FAST, -_FAST)
_ACTS: Final = {
    "read": 100,
    "write": 14,
    "invalidate": 2,
    "invalidate_table": 1,
    "evict": 1,
    "flush": 1,
    "cut": 3,
    "cut_leases": 1,
    "stream_down": 2,
    "split": 1,
    "trim": 1,
    "expire": 1,
}
_BOUNDS: Final = (*(Bound.NONE,) * 4, *(Bound.SESSION,) * 6, Bound.NOW)
_MODES: Final = (*(CacheMode.DEFAULT,) * 12, CacheMode.ONLY_IF_CACHED, CacheMode.REFRESH)
_REPEATED: Final = 0.4
_WANDERS: Final = 0.08
# A read of the first partition that is over at once, and that a session may repeat.
_PLAIN: Final = Step(0.0, "read", 0, CacheMode.DEFAULT, None, 0.0, 0.0, 0.0, False, None, False)
_PARTITION, _OTHER_PARTITION, _TWO_PARTITIONS, _EVERYTHING = 0, 1, 3, 8


def make_session_setting(random: Random) -> SessionSetting:
    """Return the setting of one schedule."""
    base = make_shared_setting(random)
    shares = random.random() < 0.6
    replicas = random.choice((2, 3)) if shares else random.choice((1, 2, 2, 3))
    return SessionSetting(
        config=base.config,
        most_generations=base.most_generations,
        store_bytes=base.store_bytes,
        quarantine=base.quarantine,
        clocks=tuple(random.choice(_CLOCKS) for _ in range(replicas + SESSIONS)),
        replicas=replicas,
        shares=shares,
        # Without a shared cache only a replica without others may consume a stream.
        follows_stream=random.random() < 0.8 if shares else replicas == 1,
        when_unavailable=random.choice(("bypass", "bypass", "serve_until_ttl")),
        coalescing_timeout=random.choice((0.2, 2.0)),
    )


def make_session_steps(random: Random) -> list[Step]:
    """Return some events: many a read is repeated by its session, perhaps at another replica."""
    if random.random() < _WANDERS:
        return _wander(random)
    step = _make_step(random)
    steps = with_late_indexes(step, random, AROUND_QUARANTINES)
    if step.act != "read" or random.random() >= _REPEATED:
        return steps
    after, replica = random.choice((0.1, 0.6, 3.0)), random.choice((step.replica, step.replica + 1))
    again = replace(step, after=after, replica=replica, mode=CacheMode.DEFAULT, takes=0.3)
    return [*steps, replace(again, bound=random.choice((Bound.NONE, Bound.SESSION)))]


def _make_step(random: Random) -> Step:
    """Return an event; most reads are of few pages, and soon, so that there are pages to share."""
    step = replace(
        make_step(random),
        after=random.choice((0.0, 0.0, 0.02, 0.1, 0.3, 0.6, 1.0, 3.0)),
        act=random.choices(list(_ACTS), list(_ACTS.values()))[0],
        replica=random.randrange(6),
        session=random.randrange(SESSIONS),
        bound=random.choice(_BOUNDS),
    )
    if step.act != "read" or random.random() < 0.2:
        return step
    return replace(
        step,
        which=random.choice((0, 0, 0, 0, 1, 3, 4, 4, 8)),  # partitions, an index, everything
        mode=random.choice(_MODES),
        takes=HANGS if random.random() < 0.02 else min(step.takes, 1.0),
        fails=False,
        staleness=None,
        leaves_after=None,
    )


def _wander(random: Random) -> list[Step]:
    """Return the reads of a session that has seen a write, and comes to a page from before it.

    That page is cached by the replica `there`, or shared. Before it comes to it, the write's record
    may appear, and an older page may be served.
    """
    here, session = random.randrange(6), random.randrange(SESSIONS)
    there, other = here + random.choice((1, 1, 2)), session + 1
    at = replace(_PLAIN, session=session, replica=here, bound=Bound.SESSION)
    took = random.choice((0.0, 0.0, 1.0))
    before = replace(at, replica=there, session=other, bound=random.choice(list(Bound)), takes=took)
    write = replace(at, act="write", after=random.choice((0.0, 0.1, 0.4)), bound=Bound.NONE)
    seen = replace(
        at,
        after=random.choice((0.0, 0.02, 0.1)),
        mode=CacheMode.REFRESH,
        which=random.choice((_PARTITION, _TWO_PARTITIONS, _EVERYTHING)),
    )
    again = replace(at, replica=random.choice((here, there)))
    steps = [before, replace(write, lag=random.choice((0.0, 0.999, 0.999))), seen]
    if random.random() < 0.5:
        waits = 1.0 if took else random.choice((0.0, 0.1, 0.6, 0.9, 1.2, 3.0))
        return [*steps, replace(again, after=waits)]
    if random.random() < 0.3:
        # Two calls overlap, and only the one that ends last has seen the write.
        return [
            replace(seen, which=_OTHER_PARTITION, takes=0.1),
            replace(seen, which=_TWO_PARTITIONS, takes=0.6, looks_at=1.0, after=0.05),
            replace(before, replica=here, bound=Bound.NOW, takes=0.0, after=0.1),
            replace(write, after=0.15),
            replace(again, replica=here, after=0.4),
        ]
    # Another page is shown by the stream at a later time, and then the first one where that is
    # unknown.
    page = replace(at, which=_OTHER_PARTITION)
    cut = replace(at, act="cut", replica=there, takes=5.0)
    return [
        replace(page, bound=Bound.NONE),
        replace(before, after=1.0, takes=0.0),
        cut,
        *steps[1:],
        replace(page, after=2.6),
        replace(again, replica=there),
    ]
