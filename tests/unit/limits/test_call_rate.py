"""Rate limits, on a clock of the tests'."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import ConfigurationError, RateLimited
from dynamodb_processor_server.limits.call_rate import CallRateLimits, RateClass


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def principal(name: str = "p", rate_class: str = "default", key_id: str = "k") -> Principal:
    """Return a caller."""
    return Principal(key_id, name, frozenset({"reader"}), (Grant("*"),), rate_class)


def accepted(limits: CallRateLimits, caller: Principal, calls: int, table: str = "") -> int:
    """Return how many of so many calls are within the limits."""
    count = 0
    for _ in range(calls):
        try:
            limits.charge(caller, table)
        except RateLimited:
            continue
        count += 1
    return count


def test_calls_over_the_limit_are_refused_with_the_time_to_wait() -> None:
    """The refusal names the principal and says after how many seconds to come again."""
    clock = Clock(100.0)
    limits = CallRateLimits({"default": RateClass(5)}, clock)
    assert accepted(limits, principal(), 5) == 5
    with pytest.raises(RateLimited) as caught:
        limits.charge(principal())
    assert caught.value.subject == "p"
    assert caught.value.message == "over the limit of 5 calls in 1 s"
    assert caught.value.retry_after == pytest.approx(1.0)


def test_the_window_slides() -> None:
    """Calls of the previous window leave the count bit by bit, not at once."""
    clock = Clock(0.0)
    limits = CallRateLimits({"default": RateClass(100)}, clock)
    assert accepted(limits, principal(), 200) == 100
    clock.now = 1.5
    assert accepted(limits, principal(), 200) == 50
    clock.now = 3.0
    assert accepted(limits, principal(), 200) == 100


def test_a_wider_window_lets_bursts_through() -> None:
    """With a window of ten seconds, ten seconds' worth of calls may come at once."""
    limits = CallRateLimits({"default": RateClass(0.29, window=100)}, Clock())
    assert accepted(limits, principal(), 50) == 29


def test_each_principal_has_a_limit_of_its_own() -> None:
    """One caller's calls, through whichever of its keys, take nothing from another."""
    limits = CallRateLimits({"default": RateClass(3), "large": RateClass(7)}, Clock())
    assert accepted(limits, principal("a", key_id="k-1"), 2) == 2
    assert accepted(limits, principal("a", key_id="k-2"), 2) == 1
    assert accepted(limits, principal("b"), 5) == 3
    assert accepted(limits, principal("a", "large"), 10) == 7


def test_each_table_may_have_a_limit_of_its_own() -> None:
    """Calls about it do not affect other tables, other principals and the limit in all."""
    clock = Clock(100.0)
    limits = CallRateLimits({"default": RateClass(5, 2, table_calls_per_second=1.5)}, clock)
    assert accepted(limits, principal(), 9, "events") == 3
    with pytest.raises(RateLimited) as caught:
        limits.charge(principal(), "events")
    assert caught.value.subject == "p/events"
    assert caught.value.message == "over the limit of 3 calls in 2 s on events"
    assert caught.value.retry_after == pytest.approx(2.0)
    assert accepted(limits, principal(), 9, "flights") == 3
    assert accepted(limits, principal("other"), 9, "events") == 3
    assert accepted(limits, principal(), 20) == 10
    clock.now += 3.0
    assert accepted(limits, principal(), 9, "events") == 2


def test_without_a_limit_nothing_is_counted() -> None:
    """The table's name is not even stored."""
    limits = CallRateLimits({"default": RateClass(5)}, Clock())
    assert accepted(limits, principal(), 50, "events") == 50
    assert list(limits.used()) == []


def test_an_unknown_rate_class_is_refused() -> None:
    """A class that the settings lack is an error of the operator, and no call is accepted."""
    limits = CallRateLimits({"default": RateClass(5)}, Clock())
    with pytest.raises(ConfigurationError, match="gold"):
        limits.charge(principal(rate_class="gold"))


@pytest.mark.parametrize(
    ("calls", "window"),
    [(0, 1), (-1, 1), (0.5, 1), (1, 0), (float("nan"), 1), (float("inf"), 1)],
)
def test_a_rate_class_lets_something_through(calls: float, window: int) -> None:
    """A class without a single call in its window, or with a rate that is none, is refused."""
    with pytest.raises(ValueError, match="window"):
        RateClass(calls, window)
    with pytest.raises(ValueError, match=r"^(table_calls_per_second times )?window"):
        RateClass(1, window, table_calls_per_second=calls)


@given(
    limit=st.integers(1, 20),
    window=st.integers(1, 5),
    steps=st.lists(st.tuples(st.floats(0, 3), st.integers(1, 25)), min_size=1, max_size=12),
)
def test_the_time_to_wait_is_the_shortest_that_suffices(
    limit: int, window: int, steps: list[tuple[float, int]]
) -> None:
    """After the stated wait a call is within the limit, and a little earlier it is not."""
    clock = Clock(50.0)
    limits = CallRateLimits({"default": RateClass(limit, window)}, clock)
    for pause, calls in steps:
        clock.now += pause
        if accepted(limits, principal(), calls) == calls:
            continue
        with pytest.raises(RateLimited) as caught:
            limits.charge(principal())
        refused_at, wait = clock.now, caught.value.retry_after
        assert 0 <= wait <= 2 * window
        clock.now = refused_at + wait - 1e-6
        if wait > 1e-5:
            with pytest.raises(RateLimited):
                limits.charge(principal())
        clock.now = refused_at + wait + 1e-6
        limits.charge(principal())


@given(st.lists(st.floats(0, 1.2), min_size=1, max_size=120))
def test_no_window_of_the_grid_exceeds_the_limit(pauses: list[float]) -> None:
    """However calls are spread, each window accepts at most the limit."""
    clock = Clock()
    limits = CallRateLimits({"default": RateClass(4)}, clock)
    counts: dict[int, int] = {}
    for pause in pauses:
        clock.now += pause
        counts[int(clock.now)] = counts.get(int(clock.now), 0) + accepted(limits, principal(), 2)
    assert max(counts.values()) <= 4


@pytest.mark.parametrize(
    ("limits", "limited"),
    [
        ({}, False),
        ({"planning_seconds_per_second": None}, False),
        ({"table_calls_per_second": 5}, True),
        ({"read_units_per_minute": 5}, True),
        ({"table_read_units_per_minute": 5}, True),
    ],
)
def test_a_class_tells_whether_it_limits_reads(limits: dict[str, Any], limited: bool) -> None:
    """A read asks for no limit but those that its class has."""
    assert RateClass(10, **limits).limits_reads is limited
