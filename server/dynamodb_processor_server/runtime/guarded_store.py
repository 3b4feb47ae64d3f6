"""Guards the commands to a store that replicas share, so that a call never waits long for one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dynamodb_processor_server.runtime.circuit_breaker import (
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    call_through,
)
from dynamodb_processor_server.runtime.redis_log import RedisLog

_T = TypeVar("_T")


class StoreError(Exception):
    """A command to a store failed, or its response did not arrive: it may have been carried out.

    Attributes:
        kind: One of a few names, for metrics.
        words: The text of the store or of its client, for the log.
    """

    def __init__(self, kind: str, words: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.words = words


class GuardedStore:
    """Sends commands through a circuit breaker, each with a timeout.

    Attributes:
        outcomes: How often each operation failed, by operation and kind of failure. Callers add
            the successes, by names of their own.
    """

    def __init__(
        self, breaker: CircuitBreaker, timeout: float, log: RedisLog | None = None
    ) -> None:
        """Create it; `timeout` is in seconds. `log` gets failures and the end of them."""
        self.breaker = breaker
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._timeout = timeout
        self._log = log

    @property
    def is_probing(self) -> bool:
        """Whether one command finds out if the store is back; no other should wait for it."""
        return self.breaker.state is CircuitState.HALF_OPEN

    async def call(self, operation: str, command: Callable[[], Awaitable[_T]]) -> _T:
        """Return the response to a command.

        Raises:
            StoreError: The command failed, took too long, or the open breaker rejected it. The
                failure has been counted. Any other error is passed on and counts as a response.
        """
        try:
            response = await call_through(self.breaker, self._timeout, command, StoreError)
        except CircuitOpenError:
            kind = "rejected_by_breaker"
        except TimeoutError:
            kind = "timeout"
            self._log_failure(kind)
        except StoreError as error:
            kind = error.kind
            self._log_failure(kind, error.words)
        else:
            if self._log is not None:
                self._log.succeeded()
            return response
        self.outcomes[operation, kind] += 1
        raise StoreError(kind)

    def _log_failure(self, kind: str, words: str = "") -> None:
        if self._log is not None:
            self._log.failed(kind, words)
