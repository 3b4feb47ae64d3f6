"""Circuit breakers: no request passes while open, then one probe at a time, and they recover."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    Outcome,
    Permit,
)

SETTINGS = BreakerSettings(failure_rate=0.5, open_seconds=2.0, minimum_calls=4, window=10.0)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_breaker(clock: Clock, jitter: float = 0.0) -> CircuitBreaker:
    """Return a breaker of `SETTINGS`."""
    return CircuitBreaker(SETTINGS, clock, lambda: jitter)


def state_of(breaker: CircuitBreaker) -> CircuitState:
    """Return the state, which the type checker would otherwise narrow."""
    return breaker.state


def play(breaker: CircuitBreaker, *outcomes: Outcome) -> None:
    """Make requests with these outcomes."""
    for outcome in outcomes:
        breaker.enter().record(outcome)


def opened(clock: Clock, jitter: float = 0.0) -> CircuitBreaker:
    """Return a breaker that has just opened."""
    breaker = make_breaker(clock, jitter)
    play(breaker, *[Outcome.FAILURE] * SETTINGS.minimum_calls)
    assert state_of(breaker) is CircuitState.OPEN
    return breaker


def test_too_few_failures_do_not_open_it() -> None:
    """Three requests are too few for a rate."""
    breaker = make_breaker(Clock())
    play(breaker, *[Outcome.FAILURE] * 3)
    assert state_of(breaker) is CircuitState.CLOSED


def test_it_opens_at_the_failure_rate() -> None:
    """The failing request counts; requests with an ignored outcome do not."""
    breaker = make_breaker(Clock())
    play(breaker, *[Outcome.SUCCESS] * 4, *[Outcome.FAILURE] * 3, *[Outcome.IGNORED] * 9)
    assert state_of(breaker) is CircuitState.CLOSED
    play(breaker, Outcome.FAILURE)
    assert state_of(breaker) is CircuitState.OPEN


def test_old_failures_are_forgotten() -> None:
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
def test_the_open_time_has_jitter(jitter: float, seconds: float) -> None:
    """Replicas whose breakers opened together must not probe together."""
    clock = Clock()
    breaker = opened(clock, jitter)
    clock.now += seconds - 0.5
    with pytest.raises(CircuitOpenError) as refused:
        breaker.enter()
    assert refused.value.retry_after == pytest.approx(0.5)
    clock.now += 0.5
    breaker.enter().record(Outcome.SUCCESS)
    assert state_of(breaker) is CircuitState.CLOSED


def test_one_probe_passes_at_a_time() -> None:
    """All other requests are refused with a time to wait."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 2.0
    probe = breaker.enter()
    for _ in range(50):
        with pytest.raises(CircuitOpenError):
            breaker.enter()
    probe.record(Outcome.FAILURE)
    assert state_of(breaker) is CircuitState.OPEN


def test_a_probe_with_an_ignored_outcome_is_replaced() -> None:
    """Its caller was cancelled: the next request is the probe."""
    clock = Clock()
    breaker = opened(clock)
    clock.now += 2.0
    breaker.enter().record(Outcome.IGNORED)
    breaker.enter().record(Outcome.SUCCESS)
    assert state_of(breaker) is CircuitState.CLOSED


def test_requests_from_before_the_last_change_do_not_count() -> None:
    """A late success cannot close the breaker, nor a late failure open it again."""
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
    """Requests, outcomes and passing time in any order, seen from outside."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker(SETTINGS, self.clock, random.Random(1).random)
        self.under_way: list[Permit] = []
        self.probes: list[Permit] = []
        self.opened_at: float | None = None
        self.retry_after = 1.0

    @rule()
    def start(self) -> None:
        """Start a request."""
        before = self.breaker.state
        try:
            permit = self.breaker.enter()
        except CircuitOpenError as refused:
            assert before is not CircuitState.CLOSED
            self.retry_after = refused.retry_after
            return
        if before is CircuitState.CLOSED:
            self.under_way.append(permit)
            return
        assert not self.probes, "two probes at once"
        assert self.opened_at is not None
        assert self.clock.now >= self.opened_at + SETTINGS.open_seconds, "passed while open"
        self.probes.append(permit)

    @precondition(lambda self: self.under_way or self.probes)
    @rule(data=st.data(), outcome=st.sampled_from(Outcome))
    def end(self, data: st.DataObject, outcome: Outcome) -> None:
        """End a request with any outcome."""
        waiting = self.under_way + self.probes
        permit = waiting[data.draw(st.integers(0, len(waiting) - 1))]
        before = self.breaker.state
        permit.record(outcome)
        if permit in self.probes:
            self.probes.remove(permit)
            expected = {Outcome.SUCCESS: CircuitState.CLOSED, Outcome.FAILURE: CircuitState.OPEN}
            assert self.breaker.state is expected.get(outcome, CircuitState.HALF_OPEN)
        else:
            self.under_way.remove(permit)
            assert before is CircuitState.CLOSED or self.breaker.state is before
            assert outcome is Outcome.FAILURE or self.breaker.state is before
        if self.breaker.state is CircuitState.OPEN and before is not CircuitState.OPEN:
            self.opened_at = self.clock.now

    @rule(seconds=st.floats(0.0, 6.0))
    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.now += seconds

    @invariant()
    def there_is_at_most_one_probe(self) -> None:
        """There is never more than one probe, and the time to wait is never zero."""
        assert len(self.probes) <= 1
        assert self.retry_after > 0

    def teardown(self) -> None:
        """The breaker recovers from any state once requests succeed."""
        for permit in self.under_way + self.probes:
            permit.record(Outcome.IGNORED)
        if self.breaker.state is not CircuitState.CLOSED:
            self.clock.now += SETTINGS.open_seconds * 1.25
            self.breaker.enter().record(Outcome.SUCCESS)
        assert self.breaker.state is CircuitState.CLOSED
        self.breaker.enter().record(Outcome.SUCCESS)


TestBreakerSchedules = BreakerSchedules.TestCase


def test_one_cause_counts_once_in_the_window() -> None:
    """One request that always fails does not open it; many different ones do."""
    now = [0.0]
    breaker = CircuitBreaker(BreakerSettings(minimum_calls=4), lambda: now[0], lambda: 0.0)
    states = []
    for cause in (*["one request"] * 100, 1, 2, 3):
        breaker.enter().record(Outcome.FAILURE, cause)
        states.append(breaker.state)
    assert states == [*[CircuitState.CLOSED] * 102, CircuitState.OPEN]


def test_a_cause_counts_again_when_the_window_has_passed() -> None:
    """Causes are forgotten with their window."""
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
