"""Breakers: nothing passes while open, one probe at a time passes after, and all recovers."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamodb_processor_server.runtime.circuit_breaker import (
    Breaker,
    Breakers,
    BreakerSettings,
    LeftAlone,
    Permit,
    State,
    Verdict,
)

SETTINGS = BreakerSettings(failure_rate=0.5, cool_down=2.0, least_calls=4, window=10.0)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_breaker(clock: Clock, jitter: float = 0.0) -> Breaker:
    """Return a breaker of `SETTINGS`."""
    return Breaker(SETTINGS, clock, lambda: jitter)


def state_of(breaker: Breaker) -> State:
    """Return the state, which the type checker believes not to change."""
    return breaker.state


def play(breaker: Breaker, *verdicts: Verdict) -> None:
    """Make requests that end so."""
    for verdict in verdicts:
        breaker.enter().settle(verdict)


def opened(clock: Clock, jitter: float = 0.0) -> Breaker:
    """Return a breaker that has just opened."""
    breaker = make_breaker(clock, jitter)
    play(breaker, *[Verdict.SICK] * SETTINGS.least_calls)
    assert state_of(breaker) is State.OPEN
    return breaker


def test_a_few_failures_open_nothing() -> None:
    """A rate says little of three requests."""
    breaker = make_breaker(Clock())
    play(breaker, *[Verdict.SICK] * 3)
    assert state_of(breaker) is State.CLOSED


def test_it_opens_at_the_rate() -> None:
    """Half of the requests, with the one that fails; those that say nothing do not count."""
    breaker = make_breaker(Clock())
    play(breaker, *[Verdict.WELL] * 4, *[Verdict.SICK] * 3, *[Verdict.NOTHING] * 9)
    assert state_of(breaker) is State.CLOSED
    play(breaker, Verdict.SICK)
    assert state_of(breaker) is State.OPEN


def test_what_is_long_past_is_forgotten() -> None:
    """The window slides."""
    clock = Clock()
    breaker = make_breaker(clock)
    play(breaker, *[Verdict.SICK] * 3)
    clock.now += 10.0
    play(breaker, Verdict.SICK)
    assert state_of(breaker) is State.CLOSED
    clock.now += 8.0
    play(breaker, *[Verdict.SICK] * 3)
    assert state_of(breaker) is State.OPEN


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 2.0), (1.0, 2.5)])
def test_the_cool_down_has_jitter(jitter: float, seconds: float) -> None:
    """Replicas that opened together must not probe together."""
    clock = Clock()
    breaker = opened(clock, jitter)
    clock.now += seconds - 0.5
    with pytest.raises(LeftAlone) as refused:
        breaker.enter()
    assert refused.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    breaker.enter().settle(Verdict.WELL)
    assert state_of(breaker) is State.CLOSED


def test_one_probe_of_many_is_let_through() -> None:
    """All others are told to come back soon."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 2.0
    probe = breaker.enter()
    for _ in range(50):
        with pytest.raises(LeftAlone):
            breaker.enter()
    probe.settle(Verdict.SICK)
    assert state_of(breaker) is State.OPEN


def test_a_probe_that_says_nothing_makes_way() -> None:
    """Its caller left: the next request is the probe."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 2.0
    breaker.enter().settle(Verdict.NOTHING)
    breaker.enter().settle(Verdict.WELL)
    assert state_of(breaker) is State.CLOSED


def test_what_began_before_does_not_count() -> None:
    """A slow success from before cannot close the breaker, nor a slow failure open it again."""
    clock = Clock()
    breaker = make_breaker(clock)
    slow = [breaker.enter() for _ in range(20)]
    play(breaker, *[Verdict.SICK] * 4)
    clock.now += 2.0
    probe = breaker.enter()
    slow.pop().settle(Verdict.WELL)
    assert state_of(breaker) is State.HALF_OPEN
    with pytest.raises(LeftAlone):
        breaker.enter()
    probe.settle(Verdict.WELL)
    for permit in slow:
        permit.settle(Verdict.SICK)
    assert state_of(breaker) is State.CLOSED


class BreakerSchedules(RuleBasedStateMachine):
    """Any order of requests, their ends and time passing, seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(SETTINGS, self.clock, random.Random(1).random)
        self.under_way: list[Permit] = []
        self.probes: list[Permit] = []
        self.opened_at: float | None = None
        self.told_to_wait = 1.0

    @rule()
    def ask(self) -> None:
        """A request comes."""
        before = self.breaker.state
        try:
            permit = self.breaker.enter()
        except LeftAlone as refused:
            assert before is not State.CLOSED
            self.told_to_wait = refused.retry_after
            return
        if before is State.CLOSED:
            self.under_way.append(permit)
            return
        assert not self.probes, "two probes at once"
        assert self.opened_at is not None
        assert self.clock.now >= self.opened_at + SETTINGS.cool_down, "let through while open"
        self.probes.append(permit)

    @precondition(lambda self: self.under_way or self.probes)
    @rule(data=st.data(), verdict=st.sampled_from(Verdict))
    def end(self, data: st.DataObject, verdict: Verdict) -> None:
        """A request ends, or is given up."""
        waiting = self.under_way + self.probes
        permit = waiting[data.draw(st.integers(0, len(waiting) - 1))]
        before = self.breaker.state
        permit.settle(verdict)
        if permit in self.probes:
            self.probes.remove(permit)
            expected = {Verdict.WELL: State.CLOSED, Verdict.SICK: State.OPEN}
            assert self.breaker.state is expected.get(verdict, State.HALF_OPEN)
        else:
            self.under_way.remove(permit)
            assert before is State.CLOSED or self.breaker.state is before
            assert verdict is Verdict.SICK or self.breaker.state is before
        if self.breaker.state is State.OPEN and before is not State.OPEN:
            self.opened_at = self.clock.now

    @rule(seconds=st.floats(0.0, 6.0))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.clock.now += seconds

    @invariant()
    def one_probe_is_the_most(self) -> None:
        """Whatever happened."""
        assert len(self.probes) <= 1
        assert self.told_to_wait > 0

    def teardown(self) -> None:
        """Whatever happened, it recovers once requests succeed."""
        for permit in self.under_way + self.probes:
            permit.settle(Verdict.NOTHING)
        if self.breaker.state is not State.CLOSED:
            self.clock.now += SETTINGS.cool_down * 1.25
            self.breaker.enter().settle(Verdict.WELL)
        assert self.breaker.state is State.CLOSED
        self.breaker.enter().settle(Verdict.WELL)


TestBreakerSchedules = BreakerSchedules.TestCase


def make_breakers(clock: Clock) -> Breakers:
    """Return breakers of `SETTINGS`."""
    return Breakers(SETTINGS, clock, lambda: 0.0)


@contextmanager
def quickly_switching() -> Iterator[None]:
    """Let threads take turns at every chance."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def heat(breakers: Breakers, partition: str | None, times: int = 4) -> None:
    """Throttle a partition of "events"."""
    for _ in range(times):
        breakers.enter("events", partition).settle(Verdict.NOTHING, Verdict.SICK)


def test_a_hot_partition_is_left_alone_by_itself() -> None:
    """Its table, and all other partitions, are read as before."""
    breakers = make_breakers(Clock())
    heat(breakers, "hot")
    with pytest.raises(LeftAlone):
        breakers.enter("events", "hot")
    for table, partition in (("events", "cold"), ("events", None), ("other", "hot")):
        breakers.enter(table, partition).settle(Verdict.WELL, Verdict.WELL)
    assert breakers.open_partitions() == 1
    assert dict(breakers.states()) == {"events": State.CLOSED, "other": State.CLOSED}


def test_a_table_that_fails_is_left_alone_in_all_its_partitions() -> None:
    """A request that its table's breaker refuses is no probe of its partition."""
    clock = Clock()
    breakers = make_breakers(clock)
    heat(breakers, "hot")
    for _ in range(4):
        breakers.enter("events", None).settle(Verdict.SICK, Verdict.NOTHING)
    clock.now += 2.0
    table_probe = breakers.enter("events", None)
    with pytest.raises(LeftAlone):
        breakers.enter("events", "hot")
    table_probe.settle(Verdict.WELL, Verdict.WELL)
    breakers.enter("events", "hot").settle(Verdict.WELL, Verdict.WELL)
    assert breakers.open_partitions() == 0


def test_partitions_take_bounded_memory() -> None:
    """Callers can name as many as they like, and heat as many as DynamoDB lets them."""
    breakers = make_breakers(Clock())
    for number in range(3_000):
        breakers.enter("events", str(number)).settle(Verdict.WELL, Verdict.WELL)
    assert breakers.open_partitions() == len(breakers._partitions) == 0
    for number in range(3_000):
        heat(breakers, str(number), times=1)
    assert len(breakers._partitions) == 1_000


def test_counting_partitions_is_no_use_of_them() -> None:
    """A scrape leaves alone which of them is forgotten next."""
    breakers = make_breakers(Clock())
    for number in range(1_000):
        heat(breakers, str(number), times=1)
    heat(breakers, "0", times=3)
    assert breakers.open_partitions() == 1
    heat(breakers, "one more", times=1)
    assert breakers.open_partitions() == 1
    with pytest.raises(LeftAlone):
        breakers.enter("events", "0")


def test_partitions_are_counted_while_they_change() -> None:
    """In another thread, as the metrics' is, whatever comes in between."""
    breakers = make_breakers(Clock())
    with quickly_switching(), ThreadPoolExecutor(1) as scraper:
        counting = scraper.submit(lambda: [breakers.open_partitions() for _ in range(3_000)])
        number = 0
        while not counting.done():
            number += 1
            heat(breakers, str(number), times=1)
    assert set(counting.result()) == {0}


def test_throttling_of_an_unknown_partition_opens_nothing() -> None:
    """A scan met it: the table is well, and which partition it was cannot be told."""
    breakers = make_breakers(Clock())
    heat(breakers, None, times=100)
    breakers.enter("events", None).settle(Verdict.WELL, Verdict.WELL)
    assert breakers.open_partitions() == 0


def test_one_cause_counts_once_in_the_window() -> None:
    """A question that always fails says nothing of others; many different ones do."""
    now = [0.0]
    breaker = Breaker(BreakerSettings(least_calls=4), lambda: now[0], lambda: 0.0)
    states = []
    for cause in (*["one question"] * 100, 1, 2, 3):
        breaker.enter().settle(Verdict.SICK, cause)
        states.append(breaker.state)
    assert states == [*[State.CLOSED] * 102, State.OPEN]


def test_a_cause_counts_again_when_the_window_has_passed() -> None:
    """And causes are forgotten with it."""
    now = [0.0]
    breaker = Breaker(BreakerSettings(least_calls=1, window=10.0), lambda: now[0], lambda: 0.0)
    breaker.enter().settle(Verdict.WELL)
    breaker.enter().settle(Verdict.WELL)
    states = []
    for moment in (0.0, 20.0):
        now[0] = moment
        breaker.enter().settle(Verdict.SICK, "q")
        states.append(breaker.state)
    assert states == [State.CLOSED, State.OPEN]
