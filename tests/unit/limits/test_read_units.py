"""Limits of read units, on a clock of the test."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.errors import RateLimited
from dynamodb_processor_server.limits.call_rate import RateClass
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.query.expression.parser import parse_expression
from dynamodb_processor_server.query.planning.row_rule import RowRule
from dynamodb_processor_server.runtime.token_bucket import LocalBucket

_CALLER = Principal("k", "reports", frozenset({"reader"}), (Grant("*"),), "default")


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def limits_of(
    clock: Clock, in_all: float | None = None, on_table: float | None = None
) -> ReadUnitLimits:
    """Return limits for the default rate class."""
    rates = RateClass(1_000, read_units_per_minute=in_all, table_read_units_per_minute=on_table)
    classes = {"default": rates, "free": RateClass(1_000)}
    return ReadUnitLimits(classes, lambda _, capacity: LocalBucket(capacity, clock))


def refusal(limits: ReadUnitLimits, caller: Principal, table: str) -> RateLimited | None:
    """Return the refusal of a read, None if it is accepted."""
    try:
        limits.check(caller, table)
    except RateLimited as error:
        return error
    return None


def test_reads_are_refused_from_debt_until_it_is_paid() -> None:
    """A read may take more than is left; the next waits until that much has come back."""
    clock = Clock()
    limits = limits_of(clock, 60)
    limits.charge(_CALLER, "events", 60)
    assert refusal(limits, _CALLER, "events") is None
    assert limits.remaining(_CALLER, "events") == 0
    limits.charge(_CALLER, "events", 12.5)
    refused = refusal(limits, _CALLER, "flights")
    assert refused is not None
    assert refused.subject == "reports"
    assert refused.retry_after == pytest.approx(12.5)
    assert refused.message == "over the limit of 60 read units per minute"
    assert limits.remaining(_CALLER, "events") == 0
    clock.now += 12.4
    assert refusal(limits, _CALLER, "events") is not None
    clock.now += 10.2
    assert refusal(limits, _CALLER, "events") is None
    assert limits.remaining(_CALLER, "events") == 10


def test_a_table_may_have_a_limit_of_its_own() -> None:
    """Its debt does not affect other tables and principals, and the refusal names it."""
    clock = Clock()
    limits = limits_of(clock, 600, 60)
    limits.charge(_CALLER, "events", 90)
    refused = refusal(limits, _CALLER, "events")
    assert refused is not None
    assert refused.subject == "reports/events"
    assert refused.retry_after == pytest.approx(30)
    assert refused.message == "over the limit of 60 read units per minute on events"
    assert refusal(limits, _CALLER, "flights") is None
    assert limits.remaining(_CALLER, "flights") == 60
    assert refusal(limits, replace(_CALLER, name="other"), "events") is None


def test_without_a_limit_nothing_is_counted_or_shown() -> None:
    """Principals of other rate classes have no limit."""
    limits = limits_of(Clock(), 1)
    caller = replace(_CALLER, rate_class="free")
    limits.charge(caller, "events", 1e9)
    assert refusal(limits, caller, "events") is None
    assert limits.remaining(caller, "events") is None
    assert limits.is_limited
    assert not limits_of(Clock()).is_limited


def test_under_a_row_rule_no_balance_is_shown(rule: RowRule) -> None:
    """The refusal's advice does not depend on the debt."""
    ruled = replace(_CALLER, grants=(Grant("open"), Grant("events", rule=rule)))
    advice = []
    for units in (61, 600):
        limits = limits_of(Clock(), 60)
        limits.charge(ruled, "events", units)
        refused = refusal(limits, ruled, "open")
        assert refused is not None
        advice.append((refused.message, refused.retry_after))
        assert limits.remaining(ruled, "open") is None
    assert advice == [("over the limit of 60 read units per minute", 60.0)] * 2


@pytest.fixture
def rule() -> RowRule:
    """A row rule; any will do."""
    return RowRule(parse_expression("level = 'low'", {}))


@given(steps=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 50)), min_size=1, max_size=60))
def test_no_more_is_consumed_than_is_refilled(steps: list[tuple[float, float]]) -> None:
    """At any time: one minute's units, the refilled units, and the debt of one read."""
    clock = Clock()
    limits = limits_of(clock, 60)
    start, consumed = clock.now, 0.0
    for pause, units in steps:
        clock.now += pause
        refused = refusal(limits, _CALLER, "t")
        if refused is not None:
            clock.now += refused.retry_after + 1e-6
            assert refusal(limits, _CALLER, "t") is None
        limits.charge(_CALLER, "t", units)
        consumed += units
        assert consumed <= 60 + (clock.now - start) + units + 1e-6


@pytest.mark.parametrize("units", [0, -1, 0.5, 1e10, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["read_units_per_minute", "table_read_units_per_minute"])
def test_invalid_limits_are_refused(name: str, units: float) -> None:
    """The error names the field when the settings are read."""
    with pytest.raises(ValueError, match=name):
        RateClass(1, **{name: units})  # type: ignore[arg-type]
