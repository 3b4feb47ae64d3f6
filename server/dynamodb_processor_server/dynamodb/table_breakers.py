"""Circuit breakers of tables, and of the resources and partitions that DynamoDB throttles."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterator, Mapping
from functools import partial
from typing import Any, Final, NamedTuple, Self

from dynamodb_processor_server.dynamodb.error_classification import BackendFailure, FailureScope
from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    Outcome,
    Permit,
)

_MOST_PARTITIONS: Final = 1_000
# A cancelled attempt counts as a failure of the table if it had no answer for so many seconds.
_SLOW: Final = 1.0


class Outcomes(NamedTuple):
    """The outcome of one request for each of the breakers that it passed."""

    table: Outcome = Outcome.IGNORED
    resource: Outcome = Outcome.IGNORED
    partition: Outcome = Outcome.IGNORED


_SUCCESS: Final = Outcomes(Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SUCCESS)
_OUTCOMES: Final[Mapping[FailureScope, Outcomes]] = {
    FailureScope.NOBODY: Outcomes(),
    FailureScope.PARTITION: Outcomes(partition=Outcome.FAILURE),
    FailureScope.RESOURCE: Outcomes(resource=Outcome.FAILURE),
    FailureScope.TABLE: Outcomes(table=Outcome.FAILURE),
}


def _ignore(table: str, resource: str, state: CircuitState) -> None:
    pass


class TableBreakers:
    """The breakers of all tables, and of their resources and partitions that were throttled.

    A resource has read capacity of its own: a global index, or the table itself with its local
    indexes. A resource or a partition has no breaker before it is first throttled. The catalog
    bounds the number of resources. Of partitions the least used ones are forgotten, so that memory
    is bounded for any requests.

    `changed` is called with table, resource and state when a breaker opens, and when it closes
    again. The resource is empty for the breaker of the whole table. Partitions are left out.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        changed: Callable[[str, str, CircuitState], None] = _ignore,
    ) -> None:
        self._new = partial(CircuitBreaker, settings, clock, jitter)
        self._changed = changed
        self._tables: dict[str, CircuitBreaker] = {}
        self._resources: dict[tuple[str, str], CircuitBreaker] = {}
        # The least used first. It is counted in another thread: a cachetools.LRUCache would take
        # that for use, and break if it changed meanwhile.
        self._partitions: dict[tuple[str, Hashable], CircuitBreaker] = {}

    def enter(
        self, table: str, resource: str, partition: Hashable, query: Hashable = None
    ) -> BreakerCall:
        """Let a request through; raise CircuitOpenError where an open breaker rejects it.

        `partition` is None for a request that reads more than one of them. `query` is the cause of
        a failure that may be the query's own; see `CircuitBreaker.record`.
        """
        breaker = self._tables.get(table)
        if breaker is None:
            breaker = self._tables[table] = self._new(partial(self._changed, table, ""))
        call = BreakerCall(self, table, resource, partition, query)
        try:
            if self._partitions and partition is not None:
                key = (table, partition)
                if key in self._partitions:
                    used = self._partitions[key] = self._partitions.pop(key)
                    call.partition_permit = used.enter()
            throttled = self._resources.get((table, resource))
            if throttled is not None:
                call.resource_permit = throttled.enter()
            call.table_permit = breaker.enter()
        except CircuitOpenError:
            call.record(Outcomes())
            raise
        return call

    def is_closed(self, table: str, resource: str) -> bool:
        """Return whether more than one request at a time may go to a resource of a table."""
        breaker = self._tables.get(table)
        is_closed = breaker is None or breaker.state is CircuitState.CLOSED
        return is_closed and not self.is_throttled(table, resource)

    def is_throttled(self, table: str, resource: str) -> bool:
        """Return whether the breaker of a resource is open or half-open."""
        breaker = self._resources.get((table, resource))
        return breaker is not None and breaker.state is not CircuitState.CLOSED

    def states(self) -> Iterator[tuple[str, str, CircuitState]]:
        """Yield table, resource and state of each breaker, without those of partitions.

        The resource is empty for the breaker of a whole table. Safe in another thread.
        """
        yield from [(table, "", breaker.state) for table, breaker in list(self._tables.items())]
        yield from [(*key, breaker.state) for key, breaker in list(self._resources.items())]

    def open_partitions(self) -> int:
        """Return the number of partitions whose breaker is not closed; safe in another thread."""
        return sum(
            breaker.state is not CircuitState.CLOSED for breaker in list(self._partitions.values())
        )

    def fail_resource(self, table: str, resource: str) -> None:
        """Record the throttling of a resource that had no breaker when the request began."""
        breaker = self._resources.get((table, resource))
        if breaker is None:
            changed = partial(self._changed, table, resource)
            breaker = self._resources[table, resource] = self._new(changed)
        _fail(breaker)

    def fail_partition(self, table: str, partition: Hashable) -> None:
        """Record the throttling of a partition that had no breaker when the request began."""
        breaker = self._partitions.get((table, partition))
        if breaker is None:
            if len(self._partitions) >= _MOST_PARTITIONS:
                del self._partitions[next(iter(self._partitions))]
            breaker = self._partitions[table, partition] = self._new()
        _fail(breaker)


def _fail(breaker: CircuitBreaker) -> None:
    if breaker.state is CircuitState.CLOSED:
        breaker.enter().record(Outcome.FAILURE)


class BreakerCall:
    """The right to make one request, with a permit of each breaker that there is on its way.

    It is a context manager. The breakers learn the outcome at the end of its `with`: that of an
    error, else `outcome`, which the block sets to an answer or to a failure.
    """

    __slots__ = (
        "_began",
        "_breakers",
        "_partition",
        "_query",
        "_resource",
        "_table",
        "outcome",
        "partition_permit",
        "resource_permit",
        "table_permit",
    )

    def __init__(
        self,
        breakers: TableBreakers,
        table: str,
        resource: str,
        partition: Hashable,
        query: Hashable,
    ) -> None:
        self._breakers = breakers
        self._table = table
        self._resource = resource
        self._partition = partition
        self._query = query
        self.table_permit: Permit | None = None
        self.resource_permit: Permit | None = None
        self.partition_permit: Permit | None = None
        self.outcome: Mapping[str, Any] | BackendFailure | None = None

    def __enter__(self) -> Self:
        self._began = asyncio.get_running_loop().time()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        outcomes, cause = _SUCCESS, None
        if isinstance(self.outcome, BackendFailure):
            outcomes = _OUTCOMES[self.outcome.blame]
            cause = self._query if self.outcome.may_be_request_fault else None
        elif error is not None:
            cancelled = isinstance(error, asyncio.CancelledError)
            slow = cancelled and asyncio.get_running_loop().time() - self._began >= _SLOW
            outcomes = _OUTCOMES[FailureScope.TABLE if slow else FailureScope.NOBODY]
        self.record(outcomes, cause)

    def record(self, outcomes: Outcomes, cause: Hashable = None) -> None:
        """Record the outcomes of the request, once; `cause` is that of the table's failure."""
        if self.table_permit is not None:
            self.table_permit.record(outcomes.table, cause)
        if self.resource_permit is not None:
            self.resource_permit.record(outcomes.resource)
        elif outcomes.resource is Outcome.FAILURE:
            self._breakers.fail_resource(self._table, self._resource)
        if self.partition_permit is not None:
            self.partition_permit.record(outcomes.partition)
        elif outcomes.partition is Outcome.FAILURE and self._partition is not None:
            self._breakers.fail_partition(self._table, self._partition)
