"""Requests to DynamoDB: each attempt is bounded in time, its failure classified, and all counted.

Each attempt at a table's data passes the circuit breaker of the table, and those of the index and
the partition that it reads if they were throttled before. Nothing below retries: botocore makes one
attempt. Nothing above does either, so a request is made again for one reason in one place.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.catalog.schema import BASE_TABLE
from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.error_classification import BackendFailure, classify
from dynamodb_processor_server.dynamodb.table_breakers import BreakerCall, TableBreakers
from dynamodb_processor_server.dynamodb.table_stats import TableStats
from dynamodb_processor_server.dynamodb.throttle_log import ThrottleLog
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.reader import Caller
from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitOpenError,
    CircuitState,
)
from dynamodb_processor_server.runtime.retry import backoff_delay

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Content: TypeAlias = Mapping[str, Any]
#: Charges a principal the read units that one request has used of a logical table.
Meter: TypeAlias = Callable[[Principal, str, float], None]
Request: TypeAlias = "Callable[[DynamoDBClient], Awaitable[Content]]"
#: Makes an attempt at a request, the nth, and counts it in the stats.
Attempt: TypeAlias = (
    "Callable[[Request, RequestTarget, TableStats, int], Awaitable[Content | BackendFailure]]"
)

# A retry with less time than this before the call's deadline is not worth its load.
_LEAST_TIME: Final = 0.01
# The value of `grpc-retry-pushback-ms` for clients that are not to retry by themselves.
_NO_RETRY: Final = -1.0


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """The bounds on requests.

    `attempts` at one request count the first; none of them takes longer than `attempt_timeout`
    seconds. As many reads as there are `connections` are under way at once: so a read that waits
    for one here does not count as slow.
    """

    attempts: int = 3
    attempt_timeout: float = 6.0
    connections: int = 200
    breaker: BreakerSettings = field(default_factory=BreakerSettings)


class RequestTarget(NamedTuple):
    """The logical table of a request, and the region and role of its client.

    `partition` is the partition that the request reads, and its path; None if it reads several.
    `query` identifies the query that the request is part of, None where that is not known.
    `resource` is the global index that is read, or `BASE_TABLE`, whose capacity local indexes use.
    `operation` is DynamoDB's name of the request, `physical` that of the table as it is requested,
    and `index_name` that of the index, local ones included; they are for traces.
    """

    table: str
    region: str | None = None
    role_arn: str | None = None
    partition: Hashable = None
    query: Hashable = None
    resource: str = BASE_TABLE
    operation: str = ""
    physical: str = ""
    index_name: str | None = None


class Answer(NamedTuple):
    """An answer of DynamoDB, after so many attempts and seconds, pauses included."""

    content: Content
    attempts: int
    seconds: float
    read_units: float


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class Backend:
    """Makes requests to DynamoDB.

    The `meters` charge each answer to the caller of its request, also if nobody waits for it any
    more. `jitter` gives a number from 0 to 1. `around` wraps the function that makes an attempt.
    """

    def __init__(
        self,
        clients: Clients,
        settings: BackendSettings | None = None,
        meters: Sequence[Meter] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
        around: Callable[[Attempt], Attempt] = lambda attempt: attempt,
    ) -> None:
        settings = settings or BackendSettings()
        self.breakers = TableBreakers(settings.breaker, _loop_time, jitter, self._breaker_changed)
        self._log = ThrottleLog(_loop_time)
        self._clients = clients
        # By region and role. They live as long as the process.
        self._opened: dict[tuple[str | None, str | None], DynamoDBClient] = {}
        self._settings = settings
        self._connections = asyncio.Semaphore(settings.connections)
        self._meters = meters
        self._make_attempt = around(self._attempt)
        self._sleep = sleep
        self._jitter = jitter
        self._tables: dict[str, TableStats] = {}
        self._control_plane = TableStats()

    def tables(self) -> Iterator[tuple[str, TableStats]]:
        """Yield the requests to each table's data; safe in another thread."""
        yield from list(self._tables.items())

    async def read(
        self, target: RequestTarget, request: Request, deadline: float, caller: Caller
    ) -> Answer:
        """Return the answer to a read of a table's data, charged to `caller`.

        `deadline` is a time of the event loop: no retry is begun that could not end before it. The
        caller's own code ends the call then.

        Raises BackendUnavailable, BackendRefused, PreconditionFailed and TableNotFound.
        """
        stats, principal = self._stats(target.table), caller.principal
        answer = await self._call(request, target, stats, deadline)
        if answer.read_units:
            stats.read_units[target.resource] += answer.read_units
            for meter in self._meters:
                meter(principal, target.table, answer.read_units)
        return answer

    async def call_control_plane(self, target: RequestTarget, request: Request) -> Answer:
        """Return the answer to a request about tables; their names may be a caller's guesses.

        Raises as `read`.
        """
        return await self._call(request, target, self._control_plane, math.inf)

    async def backoff_before_unprocessed(
        self, target: RequestTarget, request: int, deadline: float, *, idle: bool
    ) -> bool:
        """Wait before asking for the keys that DynamoDB left unprocessed in the nth answer.

        An `idle` answer, which processed nothing at all, is throttling by another name. Then False
        is returned, at once, if the table's budget allows no retry. So it is if the wait would not
        end before `deadline`, a time of the event loop.
        """
        pause = backoff_delay(request, self._jitter, throttled=idle)
        if _loop_time() + pause > deadline:
            return False
        if idle and not self._stats(target.table).spend_retry(None):
            return False
        await self._sleep(pause)
        return True

    def _stats(self, table: str) -> TableStats:
        stats = self._tables.get(table)
        if stats is None:
            stats = self._tables[table] = TableStats()
        return stats

    async def _call(
        self, request: Request, target: RequestTarget, stats: TableStats, deadline: float
    ) -> Answer:
        """Make a request until it succeeds, or fails for good.

        Requests to the control plane pass no breakers and wait for no connection.
        """
        began = _loop_time()
        attempts = 1
        while True:
            if stats is self._control_plane:
                outcome = await self._make_attempt(request, target, stats, attempts)
            else:
                async with self._connections:
                    with self._breaker_call(target, stats) as call:
                        outcome = await self._make_attempt(request, target, stats, attempts)
                        call.outcome = outcome
            if not isinstance(outcome, BackendFailure):
                break
            if outcome.credentials_expired:
                self._clients.renew_credentials(target.region, target.role_arn)
            await self._before_retry(stats, outcome, attempts, deadline)
            attempts += 1
            stats.retries += 1
        if stats.is_spent:
            stats.refill(target.resource)
        return Answer(outcome, attempts, _loop_time() - began, read_units(outcome))

    async def _before_retry(
        self, stats: TableStats, failure: BackendFailure, attempts: int, deadline: float
    ) -> None:
        """Wait until the next attempt; raise the failure when there is to be none."""
        error = failure.error
        if not failure.retryable or attempts >= self._settings.attempts:
            raise error
        throttled = failure.throttling is not None
        pause = backoff_delay(
            attempts, self._jitter, throttled=throttled, at_least=failure.retry_after
        )
        if _loop_time() + pause + _LEAST_TIME > deadline:
            if isinstance(error, BackendUnavailable):
                error.is_out_of_time = True
            raise error
        if not stats.spend_retry(failure.throttling):
            if isinstance(error, BackendUnavailable):
                error.pushback = _NO_RETRY
            raise error
        await self._sleep(pause)

    def _breaker_call(self, target: RequestTarget, stats: TableStats) -> BreakerCall:
        """Return an attempt that the breakers let through, or raise BackendUnavailable."""
        try:
            return self.breakers.enter(
                target.table, target.resource, target.partition, target.query
            )
        except CircuitOpenError as error:
            stats.rejected_by_breaker += 1
            raise self._rejection(target, stats, error.retry_after) from None

    def _rejection(
        self, target: RequestTarget, stats: TableStats, seconds: float
    ) -> BackendUnavailable:
        """Return the error of a request that an open breaker rejects for some seconds."""
        text = f"{target.table} has been failing: its circuit breaker is open"
        error = BackendUnavailable(text, seconds, seconds)
        if self.breakers.is_throttled(target.table, target.resource):
            error.resource, error.reasons = target.resource, stats.reasons(target.resource)
        return error

    def _breaker_changed(self, table: str, resource: str, state: CircuitState) -> None:
        reasons = self._stats(table).reasons(resource)
        self._log.breaker_changed(table, resource, state, reasons)

    async def _attempt(
        self, request: Request, target: RequestTarget, stats: TableStats, _number: int
    ) -> Content | BackendFailure:
        kind = "abandoned"
        began = _loop_time()
        try:
            # The client's own timeout is for each read of its socket: an answer could drip forever.
            async with asyncio.timeout(self._settings.attempt_timeout):
                source = target.region, target.role_arn
                client = self._opened.get(source)
                if client is None:
                    client = self._opened[source] = await self._clients.client(*source)
                content = await request(client)
            kind = "ok"
            return content
        except Exception as error:  # noqa: BLE001 - classified, and raised if nothing is known of it
            failure = classify(error, target.table, target.resource)
            if failure.error is not error:
                failure.error.__cause__ = error
            kind = failure.kind
            if failure.throttling is not None and stats is not self._control_plane:
                stats.count_throttling(failure.throttling)
                self._log.throttled(target.table, failure.throttling)
            return failure
        finally:
            stats.outcomes[kind] += 1
            stats.seconds.observe(_loop_time() - began)


def read_units(content: Content) -> float:
    """Return the read units that an answer has used: of one table, or of each of several."""
    used = content.get("ConsumedCapacity", ())
    each = (used,) if isinstance(used, Mapping) else used
    return sum([one.get("CapacityUnits", 0.0) for one in each], 0.0)
