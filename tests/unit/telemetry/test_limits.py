"""Tests of the metrics of limits: the used share, and the outcomes of operations on the store."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from dynamodb_processor_server.limits.call_rate import CallRateLimits, RateClass
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.limits.redis.port import LIMIT_STORE_BREAKER
from dynamodb_processor_server.runtime.circuit_breaker import CircuitBreaker
from dynamodb_processor_server.runtime.guarded_store import GuardedStore, StoreError
from dynamodb_processor_server.runtime.token_bucket import LocalBucket
from dynamodb_processor_server.telemetry import limits
from dynamodb_processor_server.telemetry.limits import LimitMetrics, SharedLimitMetrics
from tests.support.limits import Clock, principal


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    """Return a metric's value, None where there is none."""
    return registry.get_sample_value(f"dynamodb_processor_rate_limit_{name}", labels)


def test_the_used_share_of_limits_is_exported() -> None:
    """Calls follow the sliding window, read units their refill, separately for each principal."""
    clock = Clock()
    classes = {
        "default": RateClass(
            10,
            read_units_per_minute=60,
            table_read_units_per_minute=120,
            table_calls_per_second=20,
        ),
        "slow": RateClass(1, 10),
    }
    calls = CallRateLimits(classes, clock)
    units = ReadUnitLimits(classes, lambda _, capacity: LocalBucket(capacity, clock))
    planning = PlanningTimeLimits(classes, clock)
    registry = CollectorRegistry()
    LimitMetrics(registry, calls, units, planning)
    assert value(registry, "calls_used", principal="p", table="") is None
    for _ in range(8):
        calls.charge(principal())
        calls.charge(principal(), "t")
    for _ in range(3):
        calls.charge(principal("q", "slow"))
    for _ in range(2):
        calls.record(principal("q", "slow"), "")
    units.charge(principal(), "t", 90)
    planning.charge(principal(), 0.5)
    assert value(registry, "planning_used", principal="p") == pytest.approx(0.5)
    spent = registry.get_sample_value(
        "dynamodb_processor_planning_seconds_total", {"principal": "p"}
    )
    assert spent == pytest.approx(0.5)
    assert value(registry, "calls_used", principal="p", table="") == pytest.approx(0.8)
    assert value(registry, "calls_used", principal="p", table="t") == pytest.approx(0.4)
    assert value(registry, "calls_used", principal="q", table="") == pytest.approx(0.5)
    assert value(registry, "calls_used", principal="q", table="t") is None
    assert value(registry, "read_units_used", principal="p", table="") == pytest.approx(1.5)
    assert value(registry, "read_units_used", principal="p", table="t") == pytest.approx(0.75)
    clock.now += 1.5
    assert value(registry, "calls_used", principal="p", table="") == pytest.approx(0.4)
    assert value(registry, "calls_used", principal="q", table="") == pytest.approx(0.5)
    clock.now += 28.5
    assert value(registry, "calls_used", principal="p", table="") == 0
    assert value(registry, "calls_used", principal="q", table="") == 0
    assert value(registry, "read_units_used", principal="p", table="") == pytest.approx(1.0)
    assert value(registry, "read_units_used", principal="p", table="t") == pytest.approx(0.25)


async def test_outcomes_of_store_operations_are_counted() -> None:
    """Operations are counted by outcome, and the state of the breaker is exported."""

    async def answer() -> int:
        return 1

    async def fail() -> int:
        raise StoreError("unreachable")

    registry = CollectorRegistry()
    guard = GuardedStore(CircuitBreaker(LIMIT_STORE_BREAKER, Clock(), lambda: 0.0), 1.0)
    SharedLimitMetrics(registry, guard)
    assert value(registry, "breaker_state") == 0
    assert await guard.call("calls", answer) == 1
    guard.outcomes["calls", "done"] += 1
    for _ in range(2):
        with pytest.raises(StoreError):
            await guard.call("read_units", fail)
    assert value(registry, "operations_total", operation="calls", outcome="done") == 1
    exported = value(registry, "operations_total", operation="read_units", outcome="unreachable")
    assert exported == 1
    exported = value(
        registry, "operations_total", operation="read_units", outcome="rejected_by_breaker"
    )
    assert exported == 1
    assert value(registry, "breaker_state") == 2


def test_pairs_with_the_highest_use_are_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Principals times tables may be too many series; those near their limit matter."""
    monkeypatch.setattr(limits, "_MAX_PAIRS", 3)
    clock = Clock()
    classes = {"default": RateClass(10, table_calls_per_second=10)}
    calls = CallRateLimits(classes, clock)
    units, planning = ReadUnitLimits(classes), PlanningTimeLimits(classes, clock)
    registry = CollectorRegistry()
    LimitMetrics(registry, calls, units, planning)
    for number in range(6):
        for _ in range(number):
            calls.charge(principal(f"p-{number}"), "t")
    shown = {
        number: value(registry, "calls_used", principal=f"p-{number}", table="t")
        for number in range(6)
    }
    assert shown == {0: None, 1: None, 2: None, 3: 0.3, 4: 0.4, 5: 0.5}
