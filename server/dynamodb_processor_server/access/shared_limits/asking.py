"""Asks the store that replicas share, which must never cost a call much time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

from dynamodb_processor_server.access.shared_limits.port import LimitsLost
from dynamodb_processor_server.reading.breakers import Breaker, LeftAlone, guarded

_T = TypeVar("_T")


class Asking:
    """Each question has `timeout` seconds, and is not asked while the breaker is open.

    `outcomes` counts what became of each operation.
    """

    def __init__(self, breaker: Breaker, timeout: float) -> None:
        self.breaker = breaker
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self._timeout = timeout

    async def ask(self, operation: str, question: Callable[[], Awaitable[_T]]) -> _T:
        """Return the answer; raise LimitsLost if there is none."""
        try:
            answer = await guarded(self.breaker, self._timeout, question, LimitsLost)
        except LeftAlone:
            kind = "left_alone"
        except TimeoutError:
            kind = "timeout"
        except LimitsLost as error:
            kind = error.kind
        else:
            self.outcomes[operation, "done"] += 1
            return answer
        self.outcomes[operation, kind] += 1
        raise LimitsLost(kind)
