"""State by principal that stays bounded."""

from __future__ import annotations

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.limits.call_rate import CallRateLimits, RateClass
from dynamodb_processor_server.limits.calls_in_flight import CallsInFlight
from dynamodb_processor_server.limits.planning_time import PlanningTimeLimits
from dynamodb_processor_server.limits.read_units import ReadUnitLimits
from dynamodb_processor_server.runtime.bounded_state import OTHER, BoundedNames, SweptDict
from dynamodb_processor_server.runtime.token_bucket import LocalBucket


def principal(number: int) -> Principal:
    """Return one of many principals."""
    return Principal("", f"p-{number}", frozenset(), (), "default")


def test_idle_entries_are_dropped_and_busy_ones_stay() -> None:
    """A sweep is due at twice the number of busy entries, so its cost is spread."""
    swept: SweptDict[int, int] = SweptDict(lambda value: value == 0, smallest=4)
    for key in range(4):
        swept.add(key, key % 2)
    assert swept.add(4, 1) == 1
    assert sorted(swept) == [1, 3, 4]
    for key in range(5, 20):
        swept.add(key, 1)
    assert len(swept) == 18
    swept[19] = 0
    for key in range(20, 60):
        swept.add(key, 1)
    assert 19 not in swept
    assert 1 in swept


def test_names_beyond_the_first_ones_are_one() -> None:
    """A name that is known stays known."""
    names = BoundedNames(2)
    assert [names(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


def test_limits_forget_principals_that_are_idle() -> None:
    """An idle principal has its whole limit again, so nothing is lost with its state."""
    now = [0.0]
    classes = {"default": RateClass(5, window=2, read_units_per_minute=10)}
    calls = CallRateLimits(classes, lambda: now[0])
    planning = PlanningTimeLimits(classes, lambda: now[0])
    units = ReadUnitLimits(classes, lambda name, capacity: LocalBucket(capacity, lambda: now[0]))
    in_flight = CallsInFlight(10_000, 10_000)
    for number in range(20_000):
        now[0] += 0.01
        one = principal(number)
        calls.charge(one)
        planning.charge(one, 0.001)
        units.charge(one, "t", 5)
        in_flight.leave(in_flight.enter(one.name), 0)
    assert len(list(calls.used())) < 2_100
    assert len(list(planning.used())) < 2_100
    assert len(list(units.used())) < 7_000  # a bucket is full again after half a minute
    assert len(in_flight._shares) < 2_100
    assert len(list(planning.seconds())) == 1_001


def test_a_principal_in_debt_is_not_forgotten() -> None:
    """Its state is not idle, however many others come."""
    now = [0.0]
    classes = {"default": RateClass(5, read_units_per_minute=10)}
    units = ReadUnitLimits(classes, lambda name, capacity: LocalBucket(capacity, lambda: now[0]))
    units.charge(principal(0), "t", 1_000)
    for number in range(1, 5_000):
        units.charge(principal(number), "t", 0)
        units.remaining(principal(number), "t")
    assert units.remaining(principal(0), "t") == 0
