"""Circuit breakers of tables, and of throttled indexes and partitions: none covers what works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from dynamodb_processor_server.catalog.schema import BASE_TABLE
from dynamodb_processor_server.dynamodb.table_breakers import Outcomes, TableBreakers
from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitOpenError,
    CircuitState,
    Outcome,
)

SETTINGS = BreakerSettings(failure_rate=0.5, open_seconds=2.0, minimum_calls=4, window=10.0)
GOOD = Outcomes(Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SUCCESS)
FAILED = Outcomes(table=Outcome.FAILURE)
THROTTLED = Outcomes(resource=Outcome.FAILURE)
TOO_HOT = Outcomes(partition=Outcome.FAILURE)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_breakers(clock: Clock) -> TableBreakers:
    """Return breakers of `SETTINGS`."""
    return TableBreakers(SETTINGS, clock, lambda: 0.0)


@contextmanager
def quickly_switching() -> Iterator[None]:
    """Switch threads as often as possible."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def heat(breakers: TableBreakers, partition: str | None, times: int = 4) -> None:
    """Throttle a partition of "events"."""
    for _ in range(times):
        breakers.enter("events", BASE_TABLE, partition).record(TOO_HOT)


def test_the_breaker_of_a_hot_partition_is_its_own() -> None:
    """Its table, and all other partitions, are read as before."""
    breakers = make_breakers(Clock())
    heat(breakers, "hot")
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", BASE_TABLE, "hot")
    for table, partition in (("events", "cold"), ("events", None), ("other", "hot")):
        breakers.enter(table, BASE_TABLE, partition).record(GOOD)
    assert breakers.open_partitions() == 1
    assert set(breakers.states()) == {
        ("events", "", CircuitState.CLOSED),
        ("other", "", CircuitState.CLOSED),
    }


def test_the_breaker_of_a_table_covers_all_its_partitions() -> None:
    """A request that the table's breaker refuses is no probe of its partition."""
    clock = Clock()
    breakers = make_breakers(clock)
    heat(breakers, "hot")
    for _ in range(4):
        breakers.enter("events", BASE_TABLE, None).record(FAILED)
    clock.now += 2.0
    table_probe = breakers.enter("events", BASE_TABLE, None)
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", BASE_TABLE, "hot")
    table_probe.record(GOOD)
    breakers.enter("events", BASE_TABLE, "hot").record(GOOD)
    assert breakers.open_partitions() == 0


def test_partitions_take_bounded_memory() -> None:
    """Callers can name any number of partitions, and DynamoDB may throttle many of them."""
    breakers = make_breakers(Clock())
    for number in range(3_000):
        breakers.enter("events", BASE_TABLE, str(number)).record(GOOD)
    assert breakers.open_partitions() == len(breakers._partitions) == 0
    for number in range(3_000):
        heat(breakers, str(number), times=1)
    assert len(breakers._partitions) == 1_000


def test_counting_partitions_does_not_count_as_use() -> None:
    """A scrape does not change the partition that is forgotten next."""
    breakers = make_breakers(Clock())
    for number in range(1_000):
        heat(breakers, str(number), times=1)
    heat(breakers, "0", times=3)
    assert breakers.open_partitions() == 1
    heat(breakers, "one more", times=1)
    assert breakers.open_partitions() == 1
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", BASE_TABLE, "0")


def test_partitions_are_counted_while_they_change() -> None:
    """The metrics count them in another thread, at any moment."""
    breakers = make_breakers(Clock())
    with quickly_switching(), ThreadPoolExecutor(1) as scraper:
        counting = scraper.submit(lambda: [breakers.open_partitions() for _ in range(3_000)])
        number = 0
        while not counting.done():
            number += 1
            heat(breakers, str(number), times=1)
    assert set(counting.result()) == {0}


def test_throttling_of_an_unknown_partition_opens_nothing() -> None:
    """A scan was throttled: its table is healthy, and the hot partition is unknown."""
    breakers = make_breakers(Clock())
    heat(breakers, None, times=100)
    breakers.enter("events", BASE_TABLE, None).record(GOOD)
    assert breakers.open_partitions() == 0


def throttle(breakers: TableBreakers, index: str, times: int = 4) -> None:
    """Throttle a resource of "events"."""
    for _ in range(times):
        breakers.enter("events", index, "monday").record(THROTTLED)


def test_the_breaker_of_a_throttled_index_is_its_own() -> None:
    """The table, its other indexes and other tables are read as before, and closed."""
    clock = Clock()
    breakers = make_breakers(clock)
    throttle(breakers, "by_day")
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", "by_day", None)
    for table, resource in (("events", BASE_TABLE), ("events", "by_user"), ("other", "by_day")):
        breakers.enter(table, resource, "monday").record(GOOD)
        assert breakers.is_closed(table, resource)
    assert not breakers.is_closed("events", "by_day")
    assert ("events", "by_day", CircuitState.OPEN) in breakers.states()
    assert ("events", "", CircuitState.CLOSED) in breakers.states()
    clock.now += 2.0
    breakers.enter("events", "by_day", None).record(GOOD)
    assert breakers.is_closed("events", "by_day")


def test_a_throttled_table_does_not_close_off_its_indexes() -> None:
    """A global index has capacity of its own, and so has the table without it."""
    breakers = make_breakers(Clock())
    throttle(breakers, BASE_TABLE)
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", BASE_TABLE, None)
    breakers.enter("events", "by_user", None).record(GOOD)


def test_the_breaker_of_a_table_covers_all_its_indexes() -> None:
    """A request that the table's breaker refuses is no probe of its index."""
    clock = Clock()
    breakers = make_breakers(clock)
    throttle(breakers, "by_day")
    for _ in range(4):
        breakers.enter("events", BASE_TABLE, None).record(FAILED)
    clock.now += 2.0
    table_probe = breakers.enter("events", BASE_TABLE, None)
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", "by_day", None)
    table_probe.record(GOOD)
    breakers.enter("events", "by_day", None).record(GOOD)
    assert breakers.is_closed("events", "by_day")


def test_requests_that_were_throttled_together_all_count() -> None:
    """Those that began before the first of them had failed open the breaker as well."""
    breakers = make_breakers(Clock())
    for resource, partition, failed in (("by_day", None, THROTTLED), (BASE_TABLE, "hot", TOO_HOT)):
        for entry in [breakers.enter("events", resource, partition) for _ in range(4)]:
            entry.record(failed)
    assert not breakers.is_closed("events", "by_day")
    assert breakers.open_partitions() == 1


def test_each_change_of_state_is_reported_once() -> None:
    """Probes that fail in between are not, and partitions are not at all."""
    clock, reported = Clock(), []
    breakers = TableBreakers(SETTINGS, clock, lambda: 0.0, lambda *change: reported.append(change))
    throttle(breakers, "by_day")
    heat(breakers, "hot")
    for _ in range(3):
        clock.now += 2.0
        breakers.enter("events", "by_day", None).record(THROTTLED)
    clock.now += 2.0
    breakers.enter("events", "by_day", None).record(GOOD)
    for _ in range(3):
        breakers.enter("events", BASE_TABLE, None).record(FAILED)
    assert reported == [
        ("events", "by_day", CircuitState.OPEN),
        ("events", "by_day", CircuitState.CLOSED),
        ("events", "", CircuitState.OPEN),
    ]
