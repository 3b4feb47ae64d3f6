"""Random schedules for the model of `session_model.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
# A session that some scenarios use alone, so that its tokens are old ones.
_NEWCOMER: Final = SESSIONS
# Seconds by which a clock is fast: two of them differ by `CLOCK_SKEW` at most.
_FAST: Final = 0.499 * CLOCK_SKEW
_CLOCKS: Final = (0.0, _FAST, _FAST, -_FAST, -_FAST)
_ACTS: Final = {
    "read": 60,
    "get": 50,
    "write": 14,
    "invalidate": 2,
    "invalidate_table": 1,
    "evict": 1,
    "evict_items": 2,
    "flush": 1,
    "cut": 3,
    "cut_leases": 2,
    "end_leases": 2,
    "stream_down": 2,
    "split": 1,
    "trim": 1,
    "expire": 1,
}
_BOUNDS: Final = (*(Bound.NONE,) * 4, *(Bound.SESSION,) * 6, Bound.NOW)
_MODES: Final = (*(CacheMode.DEFAULT,) * 12, CacheMode.ONLY_IF_CACHED, CacheMode.REFRESH)
_REPEATED: Final = 0.4
_SHORT_LIVED: Final = {"cache_ttl": 2.5, "stale_while_revalidate": 20.0}
_CALLS: Final = ("read", "get")
# A read of the first partition that is over at once, and that a session may repeat.
_PLAIN: Final = Step(0.0, "read", 0, CacheMode.DEFAULT, None, 0.0, 0.0, 0.0, False, None, False)
_PARTITION, _OTHER_PARTITION, _TWO_PARTITIONS, _INDEX, _EVERYTHING = 0, 1, 3, 4, 8


def make_session_setting(random: Random) -> SessionSetting:
    """Return the setting of one schedule."""
    base = make_shared_setting(random)
    shares = random.random() < 0.6
    replicas = random.choice((2, 3)) if shares else random.choice((1, 2, 2, 3))
    return SessionSetting(
        # The shortest time is over in the longer pauses of the schedules.
        config={**base.config, **random.choice((_SHORT_LIVED, *({"cache_ttl": 300.0},) * 2))},
        most_generations=base.most_generations,
        store_bytes=base.store_bytes,
        quarantine=base.quarantine,
        clocks=tuple(random.choice(_CLOCKS) for _ in range(replicas + SESSIONS + 1)),
        replicas=replicas,
        shares=shares,
        # Without a shared cache only a replica without others may consume a stream.
        follows_stream=random.random() < 0.8 if shares else replicas == 1,
        when_unavailable=random.choice(("bypass", "bypass", "serve_until_ttl")),
        coalescing_timeout=random.choice((0.2, 2.0)),
    )


def make_session_steps(random: Random) -> list[Step]:
    """Return some events: many a call is repeated by its session, perhaps at another replica."""
    scenario = random.choices(list(_SCENARIOS), list(_SCENARIOS.values()))[0]
    if scenario is not None:
        return scenario(random)
    step = _make_step(random)
    steps = with_late_indexes(step, random, AROUND_QUARANTINES)
    if step.act not in _CALLS or random.random() >= _REPEATED:
        return steps
    after, replica = (
        random.choice((0.0, 0.1, 0.6, 3.0)),
        random.choice((step.replica, step.replica + 1)),
    )
    again = replace(step, after=after, replica=replica, mode=CacheMode.DEFAULT, takes=0.3)
    if step.which == 0 and random.random() < 0.3:
        again = replace(again, act=random.choice(_CALLS))  # the same item, in a page or alone
    return [*steps, replace(again, bound=random.choice((Bound.NONE, Bound.SESSION)))]


def _make_step(random: Random) -> Step:
    """Return an event; most reads are of few pages, and soon, so that there are pages to share."""
    step = replace(
        make_step(random),
        after=random.choice((0.0, 0.0, 0.02, 0.1, 0.3, 0.6, 1.0, 2.0)),
        act=random.choices(list(_ACTS), list(_ACTS.values()))[0],
        replica=random.randrange(6),
        session=random.randrange(SESSIONS),
        bound=random.choice(_BOUNDS),
    )
    if step.act not in _CALLS or random.random() < 0.2:
        return step
    return replace(
        step,
        # Of pages: partitions, an index, everything. Of gets: the same item, in several shapes.
        which=random.choice((0, 0, 0, 0, 1, 3, 4, 4, 8)),
        mode=random.choice(_MODES),
        takes=min(step.takes, 1.0),
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
    again = replace(at, replica=random.choice((here, there, there + 1)))
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


def _wait_for_read(random: Random) -> list[Step]:
    """Return a read that takes some time or hangs, and a call that might wait for it.

    It must not if it is to show a write that was made in between.
    """
    takes = random.choice((HANGS, 0.6))
    bound = random.choice((Bound.NONE, Bound.NOW))  # with the latter nothing cached will do
    at = replace(_PLAIN, act=random.choice(_CALLS), replica=random.randrange(6), bound=bound)
    # A get has the deadline of its caller. The read of a page has one of its own.
    leaves = random.choice((0.5, 3.0)) if at.act == "get" else None
    follows = replace(at, after=0.1, takes=0.1)
    if random.random() < 0.3:
        write = replace(at, act="write", bound=Bound.NONE, after=0.1)
        return [replace(at, takes=0.6), write, replace(follows, bound=Bound.NOW)]
    return [replace(at, takes=takes, leaves_after=leaves), follows]


def _wander_to_item(random: Random) -> list[Step]:
    """Return the calls of a session that has seen a write, and comes to its item from before it.

    The item is cached by the replica `there`, or shared. From there the session goes on to a page.
    """
    here, session = random.randrange(6), random.randrange(SESSIONS)
    there = here + random.choice((0, 1, 1, 2))
    at = replace(_PLAIN, session=session, replica=here, bound=Bound.SESSION)
    get = replace(at, act="get", which=random.choice((0, 0, 1, 2, 3)), replica=there)
    write = replace(at, act="write", bound=random.choice((Bound.NONE, Bound.NONE, Bound.SESSION)))
    seen = replace(at, act=random.choice(_CALLS), after=random.choice((0.0, 0.02, 0.1)))
    page = replace(at, which=random.choice((_PARTITION, _INDEX)), lag=1.0)
    return [
        replace(get, session=session + 1, bound=random.choice((Bound.NONE, Bound.SESSION))),
        replace(write, after=random.choice((0.1, 0.4, 2.6)), lag=random.choice((0.0, 0.999))),
        replace(seen, mode=random.choice((CacheMode.REFRESH, CacheMode.BYPASS))),
        replace(get, after=random.choice((0.0, 0.1, 0.6, 1.2, 2.6))),
        replace(page, after=random.choice((0.0, 0.1)), replica=random.choice((here, there))),
        replace(get, replica=here),
    ]


def _follow_writes(random: Random) -> list[Step]:
    """Return gets of an item around two writes, whose records may have more than one reader."""
    replica, session = random.randrange(6), random.randrange(SESSIONS)
    at = replace(_PLAIN, session=session, replica=replica, bound=Bound.SESSION)
    get = replace(at, act="get", which=random.choice((0, 0, 1, 3)), bound=Bound.NONE)
    # So long after the reads that the items are certainly older than the record.
    write = replace(at, act="write", after=2.6, bound=Bound.NONE)
    steps = [*(replace(get, replica=number) for number in range(random.choice((1, 3)))), write]
    if random.random() < 0.5:
        cut = replace(at, act="cut", takes=random.choice((0.4, 0.8, 1.5)))
        election = replace(at, act=random.choice(("end_leases", "end_leases", "cut_leases")))
        steps += [cut, replace(election, after=random.choice((0.0, 0.3)))]
    else:
        steps.append(replace(get, after=1.1))
    later = [replace(write, after=random.choice((0.2, 0.4, 1.2)), lag=random.choice((0.0, 0.999)))]
    if random.random() < 0.5:
        later.append(replace(get, after=1.1))
    seen = replace(at, after=random.choice((0.02, 1.2, 2.6)), mode=CacheMode.REFRESH)
    again = replace(get, bound=Bound.SESSION, after=random.choice((0.02, 1.2)))
    page = replace(at, after=0.1)
    return [*steps, *later, seen, again, replace(again, replica=replica + 1), page]


def _replay(random: Random) -> list[Step]:
    """Return gets of a session at all replicas while the records of earlier writes come again.

    The bound of the session is so old that the stream is known to have been read up to it.
    """
    at = replace(_PLAIN, session=random.randrange(SESSIONS), bound=Bound.SESSION)
    get = replace(at, act="get", which=random.choice((0, 1)))
    write = replace(at, act="write", bound=Bound.NONE)
    cached = [replace(get, bound=Bound.NONE, replica=number) for number in (0, 1, 2)]
    seen = [replace(get, after=1.2), *cached]
    again = [replace(get, after=0.15, replica=random.randrange(6)) for _ in range(20)]
    elect = replace(at, act="end_leases", after=3.6)
    return [*cached, replace(write, after=2.6), replace(write, after=0.1), *seen, elect, *again]


def _expire(random: Random) -> list[Step]:
    """Return two reads of a page, which may have expired by the second one."""
    read = replace(_PLAIN, replica=random.randrange(6), which=random.choice((_PARTITION, _INDEX)))
    return [read, replace(read, after=2.6)]


def _cut_off(random: Random) -> list[Step]:
    """Return calls at a replica that is cut off while an item is written and invalidated elsewhere.

    The replica may be about to replace the item after an earlier write.
    """
    at = replace(_PLAIN, replica=random.randrange(6))
    get = replace(at, act="get", which=random.choice((0, 1, 3)))
    write = replace(at, act="write", lag=0.999, after=0.3)
    cut = replace(at, act="cut", takes=random.choice((0.6, 0.6, 4.0)))
    invalidate = replace(at, act="invalidate", replica=at.replica + 1, after=0.05)
    calls = [cut, write, invalidate, replace(get, after=0.9), at]
    return [get, *random.choice(([], [replace(write, after=2.6, lag=0.0)])), *calls]


def _invalidate_item(random: Random) -> list[Step]:
    """Return gets of an item within the quarantine after an invalidation, and after it."""
    at = replace(_PLAIN, replica=random.randrange(6), lag=1.0)
    get = replace(at, act="get", which=random.choice((0, 1, 3)))
    invalidate = replace(at, act="invalidate")
    return [replace(at, act="write"), invalidate, replace(get, after=0.15), replace(get, after=2.6)]


def _meet_newcomer(random: Random) -> list[Step]:
    """Return the calls of a session without recent tokens: a get of an item, then a page of it.

    The page is cached, and was read just before the item was written and read. Either this replica
    was reading the item already when it was written, or another one has read it.
    """
    other = random.randrange(SESSIONS)
    at = replace(_PLAIN, session=other, replica=random.randrange(6))
    page = replace(at, bound=Bound.NOW)
    write = replace(at, act="write", after=0.1, lag=0.999)
    get = replace(at, act="get", which=random.choice((0, 1)))
    ours, last = (replace(call, session=_NEWCOMER, bound=Bound.SESSION) for call in (get, page))
    if random.random() < 0.5:
        far = replace(get, replica=at.replica + 1, mode=CacheMode.REFRESH)
        return [page, write, replace(far, after=0.1), replace(get, after=0.05), ours, last]
    slow = replace(random.choice((get, ours)), mode=CacheMode.REFRESH, takes=0.6, looks_at=1.0)
    calls = [slow, replace(page, after=0.1), write, replace(ours, after=0.6), last]
    return calls if slow.session == other else [*calls[:3], replace(last, after=0.6)]


def _wait_for_stream(random: Random) -> list[Step]:
    """Return the calls of a session that comes back to data up to which the stream has been read.

    In between the session has been shown something else, so that its bound is a later time.
    """
    replica, session = random.randrange(6), random.randrange(SESSIONS)
    at = replace(_PLAIN, session=session, replica=replica, bound=Bound.SESSION)
    cached = [at, replace(at, act="get", which=random.choice((0, 0, 1, 3)))]
    other = replace(at, which=_OTHER_PARTITION, replica=random.randrange(6), after=0.6)
    # A claim about the stream needs three seconds: its delay, a poll, a clock, and the way here.
    later = [replace(cached[0], after=random.choice((0.6, 3.6, 3.6))), cached[1]]
    return [*cached, replace(other, mode=CacheMode.REFRESH), *later]


#: Weights of scenarios, whose events would come together too seldom; None for a single event.
_SCENARIOS: Final[Mapping[Callable[[Random], list[Step]] | None, int]] = {
    None: 70,
    _wander: 6,
    _wander_to_item: 6,
    _follow_writes: 6,
    _replay: 2,
    _expire: 2,
    _cut_off: 3,
    _invalidate_item: 3,
    _meet_newcomer: 5,
    _wait_for_stream: 6,
    _wait_for_read: 4,
}
