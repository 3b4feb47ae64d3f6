"""Circuit breakers of tables, and of partitions that are throttled: none covers what works."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from dynamodb_processor_server.dynamodb.table_breakers import CircuitBreakers
from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitOpenError,
    CircuitState,
    Outcome,
)

SETTINGS = BreakerSettings(failure_rate=0.5, open_seconds=2.0, minimum_calls=4, window=10.0)


@dataclass
class Clock:
    """A clock that a test sets."""

    now: float = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_breakers(clock: Clock) -> CircuitBreakers:
    """Return breakers of `SETTINGS`."""
    return CircuitBreakers(SETTINGS, clock, lambda: 0.0)


@contextmanager
def quickly_switching() -> Iterator[None]:
    """Switch threads as often as possible."""
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


def test_the_breaker_of_a_hot_partition_is_its_own() -> None:
    """Its table, and all other partitions, are read as before."""
    breakers = make_breakers(Clock())
    heat(breakers, "hot")
    with pytest.raises(CircuitOpenError):
        breakers.enter("events", "hot")
    for table, partition in (("events", "cold"), ("events", None), ("other", "hot")):
        breakers.enter(table, partition).record(Outcome.SUCCESS, Outcome.SUCCESS)
    assert breakers.open_partitions() == 1
    assert dict(breakers.states()) == {"events": CircuitState.CLOSED, "other": CircuitState.CLOSED}


def test_the_breaker_of_a_table_covers_all_its_partitions() -> None:
    """A request that the table's breaker refuses is no probe of its partition."""
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
    """Callers can name any number of partitions, and DynamoDB may throttle many of them."""
    breakers = make_breakers(Clock())
    for number in range(3_000):
        breakers.enter("events", str(number)).record(Outcome.SUCCESS, Outcome.SUCCESS)
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
        breakers.enter("events", "0")


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
    breakers.enter("events", None).record(Outcome.SUCCESS, Outcome.SUCCESS)
    assert breakers.open_partitions() == 0
