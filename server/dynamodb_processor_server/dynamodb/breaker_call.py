"""One attempt at a request, whose outcome the circuit breakers learn at its end."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any, Final, Self

from dynamodb_processor_server.dynamodb.error_classification import BackendFailure, FailureScope
from dynamodb_processor_server.dynamodb.table_breakers import Entry, Outcomes
from dynamodb_processor_server.runtime.circuit_breaker import Outcome

# A cancelled attempt counts as a failure of the table if it had no answer for so many seconds.
_SLOW: Final = 1.0

_SUCCESS: Final = Outcomes(Outcome.SUCCESS, Outcome.SUCCESS, Outcome.SUCCESS)
_OUTCOMES: Final[Mapping[FailureScope, Outcomes]] = {
    FailureScope.NOBODY: Outcomes(),
    FailureScope.PARTITION: Outcomes(partition=Outcome.FAILURE),
    FailureScope.RESOURCE: Outcomes(resource=Outcome.FAILURE),
    FailureScope.TABLE: Outcomes(table=Outcome.FAILURE),
}


class BreakerCall:
    """One attempt, whose outcome the breakers learn at the end of its `with`.

    `query` is the cause of a failure that may be the query's own; see `CircuitBreaker.record`.
    """

    def __init__(self, entry: Entry, query: Hashable) -> None:
        self.outcome: Mapping[str, Any] | BackendFailure | None = None
        self._entry = entry
        self._query = query
        self._began = asyncio.get_running_loop().time()

    def __enter__(self) -> Self:
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
        self._entry.record(outcomes, cause)
