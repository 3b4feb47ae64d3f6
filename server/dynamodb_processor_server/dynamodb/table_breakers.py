"""Circuit breakers of tables, and of the partitions that DynamoDB throttles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Final

from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    Outcome,
    Permit,
)

_MOST_PARTITIONS: Final = 1_000


class CircuitBreakers:
    """The breakers of all tables, and of the partitions of their paths that were throttled.

    A partition has none before it is first throttled, and the least used ones are forgotten, so
    that memory is bounded for any requests.
    """

    def __init__(
        self, settings: BreakerSettings, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._tables: dict[str, CircuitBreaker] = {}
        # The least used first. It is counted in another thread: a cachetools.LRUCache would take
        # that for use, and break if it changed meanwhile.
        self._partitions: dict[tuple[str, Hashable], CircuitBreaker] = {}

    def enter(self, table: str, partition: Hashable) -> Entry:
        """Let a request through; raise CircuitOpenError where an open breaker rejects it.

        `partition` is None for a request that reads more than one of them.
        """
        breaker = self._tables.get(table)
        if breaker is None:
            breaker = self._tables[table] = self._new()
        hot, key = None, (table, partition)
        if partition is not None and key in self._partitions:
            used = self._partitions[key] = self._partitions.pop(key)
            hot = used.enter()
        try:
            return Entry(self, key, breaker.enter(), hot)
        except CircuitOpenError:
            if hot is not None:
                hot.record(Outcome.IGNORED)
            raise

    def is_closed(self, table: str) -> bool:
        """Return whether more than one request at a time may go to a table."""
        breaker = self._tables.get(table)
        return breaker is None or breaker.state is CircuitState.CLOSED

    def states(self) -> Iterator[tuple[str, CircuitState]]:
        """Yield the state of each table's breaker; safe in another thread."""
        yield from [(table, breaker.state) for table, breaker in list(self._tables.items())]

    def open_partitions(self) -> int:
        """Return the number of partitions whose breaker is not closed; safe in another thread."""
        return sum(
            breaker.state is not CircuitState.CLOSED for breaker in list(self._partitions.values())
        )

    def add_partition(self, key: tuple[str, Hashable]) -> None:
        """Record the first throttling of a partition."""
        if key not in self._partitions:
            if len(self._partitions) >= _MOST_PARTITIONS:
                del self._partitions[next(iter(self._partitions))]
            breaker = self._partitions[key] = self._new()
            breaker.enter().record(Outcome.FAILURE)

    def _new(self) -> CircuitBreaker:
        return CircuitBreaker(self._settings, self._clock, self._jitter)


@dataclass(slots=True)
class Entry:
    """The right to make one request to a table, and to a partition of it if `hot` is a permit."""

    breakers: CircuitBreakers
    key: tuple[str, Hashable]
    table: Permit
    hot: Permit | None

    def record(self, table: Outcome, partition: Outcome, cause: Hashable = None) -> None:
        """Record the outcome of the request, once; `cause` is that of the table's failure."""
        self.table.record(table, cause)
        if self.hot is not None:
            self.hot.record(partition)
        elif partition is Outcome.FAILURE and self.key[1] is not None:
            self.breakers.add_partition(self.key)
