"""Asks the store that replicas share, which must never cost a call much time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from dynamodb_processor_server.limits.redis.port import LimitStoreError
from dynamodb_processor_server.runtime.circuit_breaker import (
    BreakerSettings,
    CircuitBreaker,
    CircuitOpenError,
    CircuitState,
    call_through,
)
from dynamodb_processor_server.runtime.redis import RedisLog

# Messages follow one another, and every call waits for one: a store that has said nothing useful
# for half a second is left alone, be it after five messages or after the only one.
_BREAKER: Final = BreakerSettings(minimum_calls=1, window=0.5)

_T = TypeVar("_T")


class GuardedStore:
    """Each question has `timeout` seconds, and is not asked while the breaker is open.

    `outcomes` counts what became of each operation. `clock` gives seconds, `jitter` a number from
    0 to 1.
    """

    def __init__(
        self, timeout: float, clock: Callable[[], float], jitter: Callable[[], float]
    ) -> None:
        self.breaker = CircuitBreaker(_BREAKER, clock, jitter)
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._timeout = timeout
        self._log = RedisLog("shared_limits", clock)

    async def call(self, operation: str, question: Callable[[], Awaitable[_T]]) -> _T:
        """Return the answer; raise LimitStoreError if there is none."""
        try:
            answer = await call_through(self.breaker, self._timeout, question, LimitStoreError)
        except CircuitOpenError:
            kind = "rejected_by_breaker"
        except TimeoutError:
            kind = "timeout"
            self._log.failed(kind)
        except LimitStoreError as error:
            kind = error.kind
            self._log.failed(kind, error.words)
        else:
            self.outcomes[operation, "done"] += 1
            self._log.succeeded()
            return answer
        self.outcomes[operation, kind] += 1
        raise LimitStoreError(kind)

    @property
    def is_probing(self) -> bool:
        """Whether one message finds out if the store is back; nobody else should wait for that."""
        return self.breaker.state is CircuitState.HALF_OPEN
