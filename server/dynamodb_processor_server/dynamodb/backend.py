"""The one way to ask DynamoDB anything: attempts are bounded, failures understood, all counted.

Each attempt at a table's data passes the table's breaker, and its partition's if that was found
hot. Nothing below retries: botocore makes one attempt. Nothing above does either, so a request is
made again for one reason in one place.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from dynamodb_processor_server.dynamodb.clients import Clients
from dynamodb_processor_server.dynamodb.error_classification import (
    BackendFailure,
    FailureScope,
    classify,
)
from dynamodb_processor_server.errors import BackendUnavailable
from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitBreakers,
    CircuitOpenError,
    Entry,
    Outcome,
)
from dynamodb_processor_server.runtime.retry import RetryBudget, backoff_delay

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

Content: TypeAlias = Mapping[str, Any]
#: Is told of a logical table and the read units that one request has taken of it.
Meter: TypeAlias = Callable[[str, float], None]
Request: TypeAlias = "Callable[[DynamoDBClient], Awaitable[Content]]"

# A retry with less time than this before the call's deadline is not worth its load.
_LEAST_TIME: Final = 0.01
# What `grpc-retry-pushback-ms` says to clients who are not to come again by themselves.
_STOP: Final = -1.0
# An attempt that is given up says nothing of DynamoDB, unless it had no answer for so long.
_SLOW: Final = 1.0

_WELL: Final = (Outcome.SUCCESS, Outcome.SUCCESS)
# What a failure says of the table, and of the partition.
_VERDICTS: Final[Mapping[FailureScope, tuple[Outcome, Outcome]]] = {
    FailureScope.NOBODY: (Outcome.IGNORED, Outcome.IGNORED),
    FailureScope.PARTITION: (Outcome.IGNORED, Outcome.FAILURE),
    FailureScope.TABLE: (Outcome.FAILURE, Outcome.IGNORED),
}


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """How DynamoDB is treated.

    `attempts` at one request count the first; none of them takes longer than `attempt_timeout`
    seconds. So many reads as there are `connections` are under way at once: what waits for one
    here is not mistaken for what DynamoDB is slow to answer.
    """

    attempts: int = 3
    attempt_timeout: float = 6.0
    connections: int = 200
    breaker: BreakerSettings = field(default_factory=BreakerSettings)


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """What a request is for: a logical table, and where its client comes from.

    `partition` says which one the request reads, of which path; None if it reads several.
    `query` tells what is asked from other questions, as far as that is known.
    """

    table: str
    region: str | None = None
    role_arn: str | None = None
    partition: Hashable = None
    query: Hashable = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What DynamoDB said, after how many attempts and, pauses included, how many seconds."""

    content: Content
    attempts: int
    seconds: float
    read_units: float


@dataclass(slots=True)
class TableStats:
    """What became of a table's requests: attempts by outcome, and how many were retries.

    `rejected_by_breaker` are the requests that a breaker did not let through.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    rejected_by_breaker: int = 0
    budget: RetryBudget = field(default_factory=RetryBudget)


_Attempt: TypeAlias = Callable[[TableStats, RequestTarget], Awaitable[Content | BackendFailure]]


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _unmetered(table: str, units: float) -> None:
    pass


class Backend:
    """Makes requests to DynamoDB.

    `meter` is told what each answer took, in the task that asked, whoever still waits for it.
    `clock` is the event loop's unless a test says otherwise, `jitter` gives a number from 0 to 1.
    """

    def __init__(
        self,
        clients: Clients,
        settings: BackendSettings | None = None,
        meter: Meter = _unmetered,
        clock: Callable[[], float] = _loop_time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        settings = settings or BackendSettings()
        self.breakers = CircuitBreakers(settings.breaker, clock, jitter)
        self._clients = clients
        self._settings = settings
        self._connections = asyncio.Semaphore(settings.connections)
        self._meter = meter
        self._clock = clock
        self._sleep = sleep
        self._jitter = jitter
        self._tables: dict[str, TableStats] = {}
        self._control = TableStats()

    def tables(self) -> Iterator[tuple[str, TableStats]]:
        """Yield what was recorded of each table's data; safe in another thread."""
        yield from list(self._tables.items())

    async def read(self, target: RequestTarget, request: Request, deadline: float) -> Answer:
        """Return what a read of a table's data gives.

        `deadline` is a time of `clock`: no retry is begun that could not end before it. It is for
        the caller to end the call then.

        Raises BackendUnavailable, BackendRefused, PreconditionFailed and TableNotFound.
        """
        record = self._record(target.table)
        answer = await self._call(record, target, partial(self._guarded, request), deadline)
        if answer.read_units:
            self._meter(target.table, answer.read_units)
        return answer

    async def call_control_plane(self, target: RequestTarget, request: Request) -> Answer:
        """Return what a request about tables gives; their names may be a caller's guesses.

        Raises as `read`.
        """
        return await self._call(self._control, target, partial(self._attempt, request), math.inf)

    async def backoff_before_unprocessed(
        self, target: RequestTarget, request: int, *, idle: bool
    ) -> bool:
        """Wait before asking for what DynamoDB left undone in its answer to the nth request.

        An `idle` answer, which did nothing at all, is throttling by another name. Then False is
        returned, at once, if the table's budget allows no retry.
        """
        if idle and not self._record(target.table).budget.spend():
            return False
        await self._sleep(backoff_delay(request, self._jitter))
        return True

    def _record(self, table: str) -> TableStats:
        record = self._tables.get(table)
        if record is None:
            record = self._tables[table] = TableStats()
        return record

    async def _call(
        self, record: TableStats, target: RequestTarget, attempt: _Attempt, deadline: float
    ) -> Answer:
        began = self._clock()
        attempts = 1
        while isinstance(outcome := await attempt(record, target), BackendFailure):
            if outcome.credentials_expired:
                self._clients.renew_credentials(target.region, target.role_arn)
            await self._before_retry(record, outcome, attempts, deadline)
            attempts += 1
            record.retries += 1
        record.budget.refill()
        return Answer(outcome, attempts, self._clock() - began, _read_units(outcome))

    async def _before_retry(
        self, record: TableStats, failure: BackendFailure, attempts: int, deadline: float
    ) -> None:
        """Wait until the next attempt; raise the failure when there is to be none."""
        error = failure.error
        if not failure.retryable or attempts >= self._settings.attempts:
            raise error
        pause = backoff_delay(attempts, self._jitter)
        if self._clock() + pause + _LEAST_TIME > deadline:
            raise error
        if not record.budget.spend():
            if isinstance(error, BackendUnavailable):
                error.pushback = _STOP
            raise error
        await self._sleep(pause)

    async def _guarded(
        self, request: Request, record: TableStats, target: RequestTarget
    ) -> Content | BackendFailure:
        """Make an attempt if the breakers let it through, and tell them what became of it."""
        async with self._connections:
            return await self._entered(request, record, target)

    async def _entered(
        self, request: Request, record: TableStats, target: RequestTarget
    ) -> Content | BackendFailure:
        entry = self._enter(record, target)
        began = self._clock()
        verdicts = _VERDICTS[FailureScope.NOBODY]
        cause: Hashable = None
        try:
            outcome = await self._attempt(request, record, target)
            verdicts = _VERDICTS[outcome.blame] if isinstance(outcome, BackendFailure) else _WELL
            if isinstance(outcome, BackendFailure) and outcome.may_be_request_fault:
                cause = target.query
        except asyncio.CancelledError:
            if self._clock() - began >= _SLOW:
                verdicts = _VERDICTS[FailureScope.TABLE]
            raise
        finally:
            entry.record(*verdicts, cause)
        return outcome

    def _enter(self, record: TableStats, target: RequestTarget) -> Entry:
        try:
            return self.breakers.enter(target.table, target.partition)
        except CircuitOpenError as error:
            record.rejected_by_breaker += 1
            text = f"{target.table} has been failing: its circuit breaker is open"
            raise BackendUnavailable(text, error.retry_after, error.retry_after) from None

    async def _attempt(
        self, request: Request, record: TableStats, target: RequestTarget
    ) -> Content | BackendFailure:
        kind = "abandoned"
        try:
            # The client's own timeout is for each read of its socket: an answer could drip forever.
            async with asyncio.timeout(self._settings.attempt_timeout):
                client = await self._clients.client(target.region, target.role_arn)
                content = await request(client)
            kind = "ok"
            return content
        except Exception as error:  # noqa: BLE001 - told apart, and raised if it is none of ours
            failure = classify(error, target.table)
            if failure.error is not error:
                failure.error.__cause__ = error
            kind = failure.kind
            return failure
        finally:
            record.outcomes[kind] += 1


def _read_units(content: Content) -> float:
    """Return what an answer says it took: of one table, or of each of several."""
    used = content.get("ConsumedCapacity", ())
    each = (used,) if isinstance(used, Mapping) else used
    return sum((one.get("CapacityUnits", 0.0) for one in each), 0.0)
