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
    BreakerSettings,
    CircuitBreaker,
    CircuitBreakers,
    CircuitOpenError,
    CircuitState,
    Outcome,
    Permit,
)

SETTINGS = BreakerSettings(failure_rate=0.5, open_seconds=2.0, minimum_calls=4, window=10.0)


@dataclass
class Clock:
    """A clock that stands still until it is moved."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_breaker(clock: Clock, jitter: float = 0.0) -> CircuitBreaker:
    """Return a breaker of `SETTINGS`."""
    return CircuitBreaker(SETTINGS, clock, lambda: jitter)


def state_of(breaker: CircuitBreaker) -> CircuitState:
    """Return the state, which the type checker believes not to change."""
    return breaker.state


def play(breaker: CircuitBreaker, *verdicts: Outcome) -> None:
    """Make requests that end so."""
    for verdict in verdicts:
        breaker.enter().record(verdict)


def opened(clock: Clock, jitter: float = 0.0) -> CircuitBreaker:
    """Return a breaker that has just opened."""
    breaker = make_breaker(clock, jitter)
    play(breaker, *[Outcome.FAILURE] * SETTINGS.minimum_calls)
    assert state_of(breaker) is CircuitState.OPEN
    return breaker


def test_a_few_failures_open_nothing() -> None:
    """A rate says little of three requests."""
    breaker = make_breaker(Clock())
    play(breaker, *[Outcome.FAILURE] * 3)
    assert state_of(breaker) is CircuitState.CLOSED


def test_it_opens_at_the_rate() -> None:
    """Half of the requests, with the one that fails; those that say nothing do not count."""
    breaker = make_breaker(Clock())
    play(breaker, *[Outcome.SUCCESS] * 4, *[Outcome.FAILURE] * 3, *[Outcome.IGNORED] * 9)
    assert state_of(breaker) is CircuitState.CLOSED
    play(breaker, Outcome.FAILURE)
    assert state_of(breaker) is CircuitState.OPEN


def test_what_is_long_past_is_forgotten() -> None:
    """The window slides."""
    clock = Clock()
    breaker = make_breaker(clock)
    play(breaker, *[Outcome.FAILURE] * 3)
    clock.now += 10.0
    play(breaker, Outcome.FAILURE)
    assert state_of(breaker) is CircuitState.CLOSED
    clock.now += 8.0
    play(breaker, *[Outcome.FAILURE] * 3)
    assert state_of(breaker) is CircuitState.OPEN


@pytest.mark.parametrize(("jitter", "seconds"), [(0.0, 2.0), (1.0, 2.5)])
def test_the_cool_down_has_jitter(jitter: float, seconds: float) -> None:
    """Replicas that opened together must not probe together."""
    clock = Clock()
    breaker = opened(clock, jitter)
    clock.now += seconds - 0.5
    with pytest.raises(CircuitOpenError) as refused:
        breaker.enter()
    assert refused.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    breaker.enter().record(Outcome.SUCCESS)
    assert state_of(breaker) is CircuitState.CLOSED


def test_one_probe_of_many_is_let_through() -> None:
    """All others are told to come back soon."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 2.0
    probe = breaker.enter()
    for _ in range(50):
        with pytest.raises(CircuitOpenError):
            breaker.enter()
    probe.record(Outcome.FAILURE)
    assert state_of(breaker) is CircuitState.OPEN


def test_a_probe_that_says_nothing_makes_way() -> None:
    """Its caller left: the next request is the probe."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 2.0
    breaker.enter().record(Outcome.IGNORED)
    breaker.enter().record(Outcome.SUCCESS)
    assert state_of(breaker) is CircuitState.CLOSED


def test_what_began_before_does_not_count() -> None:
    """A slow success from before cannot close the breaker, nor a slow failure open it again."""
    clock = Clock()
    breaker = make_breaker(clock)
    slow = [breaker.enter() for _ in range(20)]
    play(breaker, *[Outcome.FAILURE] * 4)
    clock.now += 2.0
    probe = breaker.enter()
    slow.pop().record(Outcome.SUCCESS)
    assert state_of(breaker) is CircuitState.HALF_OPEN
    with pytest.raises(CircuitOpenError):
        breaker.enter()
    probe.record(Outcome.SUCCESS)
    for permit in slow:
        permit.record(Outcome.FAILURE)
    assert state_of(breaker) is CircuitState.CLOSED


class BreakerSchedules(RuleBasedStateMachine):
    """Any order of requests, their ends and time passing, seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(SETTINGS, self.clock, random.Random(1).random)
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
        except CircuitOpenError as refused:
            assert before is not CircuitState.CLOSED
            self.told_to_wait = refused.retry_after
            return
        if before is CircuitState.CLOSED:
            self.under_way.append(permit)
            return
        assert not self.probes, "two probes at once"
        assert self.opened_at is not None
        assert self.clock.now >= self.opened_at + SETTINGS.open_seconds, "let through while open"
        self.probes.append(permit)

    @precondition(lambda self: self.under_way or self.probes)
    @rule(data=st.data(), verdict=st.sampled_from(Outcome))
    def end(self, data: st.DataObject, verdict: Outcome) -> None:
        """A request ends, or is given up."""
        waiting = self.under_way + self.probes
        permit = waiting[data.draw(st.integers(0, len(waiting) - 1))]
        before = self.breaker.state
        permit.record(verdict)
        if permit in self.probes:
            self.probes.remove(permit)
            expected = {Outcome.SUCCESS: CircuitState.CLOSED, Outcome.FAILURE: CircuitState.OPEN}
            assert self.breaker.state is expected.get(verdict, CircuitState.HALF_OPEN)
        else:
            self.under_way.remove(permit)
            assert before is CircuitState.CLOSED or self.breaker.state is before
            assert verdict is Outcome.FAILURE or self.breaker.state is before
        if self.breaker.state is CircuitState.OPEN and before is not CircuitState.OPEN:
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
            permit.record(Outcome.IGNORED)
        if self.breaker.state is not CircuitState.CLOSED:
            self.clock.now += SETTINGS.open_seconds * 1.25
            self.breaker.enter().record(Outcome.SUCCESS)
        assert self.breaker.state is CircuitState.CLOSED
        self.breaker.enter().record(Outcome.SUCCESS)


TestBreakerSchedules = BreakerSchedules.TestCase


def make_breakers(clock: Clock) -> CircuitBreakers:
    """Return breakers of `SETTINGS`."""
    return CircuitBreakers(SETTINGS, clock, lambda: 0.0)


@contextmanager
def quickly_switching() -> Iterator[None]:
    """Let threads take turns at every chance."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def heat(breakers: CircuitBreakers, partition: str | None, times: int = 4) -> None:
    """Throttle a partition of "events"."""
    for _ in range(times):
        breakers.enter("events", partition).record(Outcome.IGNORED, Outcome.FAILURE)


def test_a_hot_partition_is_left_alone_by_itself() -> None:
    """Its table, and all other partitions, are read as before."""
    breakers = make_breakers(Clock())
    heat(breakers, "hot")
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", "hot")
    for table, partition in (("events", "cold"), ("events", None), ("other", "hot")):
        breakers.enter(table, partition).record(Outcome.SUCCESS, Outcome.SUCCESS)
    assert breakers.open_partitions() == 1
    assert dict(breakers.states()) == {"events": CircuitState.CLOSED, "other": CircuitState.CLOSED}


def test_a_table_that_fails_is_left_alone_in_all_its_partitions() -> None:
    """A request that its table's breaker refuses is no probe of its partition."""
    clock = Clock()
    breakers = make_breakers(clock)
    heat(breakers, "hot")
    for _ in range(4):
        breakers.enter("events", None).record(Outcome.FAILURE, Outcome.IGNORED)
    clock.now += 2.0
    table_probe = breakers.enter("events", None)
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", "hot")
    table_probe.record(Outcome.SUCCESS, Outcome.SUCCESS)
    breakers.enter("events", "hot").record(Outcome.SUCCESS, Outcome.SUCCESS)
    assert breakers.open_partitions() == 0


def test_partitions_take_bounded_memory() -> None:
    """Callers can name as many as they like, and heat as many as DynamoDB lets them."""
    breakers = make_breakers(Clock())
    for number in range(3_000):
        breakers.enter("events", str(number)).record(Outcome.SUCCESS, Outcome.SUCCESS)
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
    with pytest.raises(CircuitOpenError):
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
    breakers.enter("events", None).record(Outcome.SUCCESS, Outcome.SUCCESS)
    assert breakers.open_partitions() == 0


def test_one_cause_counts_once_in_the_window() -> None:
    """A question that always fails says nothing of others; many different ones do."""
    now = [0.0]
    breaker = CircuitBreaker(BreakerSettings(minimum_calls=4), lambda: now[0], lambda: 0.0)
    states = []
    for cause in (*["one question"] * 100, 1, 2, 3):
        breaker.enter().record(Outcome.FAILURE, cause)
        states.append(breaker.state)
    assert states == [*[CircuitState.CLOSED] * 102, CircuitState.OPEN]


def test_a_cause_counts_again_when_the_window_has_passed() -> None:
    """And causes are forgotten with it."""
    now = [0.0]
    breaker = CircuitBreaker(
        BreakerSettings(minimum_calls=1, window=10.0), lambda: now[0], lambda: 0.0
    )
    breaker.enter().record(Outcome.SUCCESS)
    breaker.enter().record(Outcome.SUCCESS)
    states = []
    for moment in (0.0, 20.0):
        now[0] = moment
        breaker.enter().record(Outcome.FAILURE, "q")
        states.append(breaker.state)
    assert states == [CircuitState.CLOSED, CircuitState.OPEN]
