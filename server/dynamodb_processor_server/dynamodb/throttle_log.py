"""Logs throttling and open circuit breakers by table, index and reason, in few lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from typing import Final

import structlog

from dynamodb_processor_server.dynamodb.throttling import Throttling
from dynamodb_processor_server.runtime.circuit_breaker import CircuitState

_log = structlog.get_logger(__name__)

_EVERY: Final = 60.0  # seconds between two lines with the same table, index and reason


class ThrottleLog:
    """Logs one line a minute for each table, index and reason. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[tuple[str, str, str], float] = {}
        self._times: Counter[tuple[str, str, str]] = Counter()

    def throttled(self, table: str, throttling: Throttling) -> None:
        """Log a throttled request, or count it for the next line."""
        index = throttling.resource or ""
        for reason in throttling.labels:
            key = (table, index, reason)
            self._times[key] += 1
            now = self._clock()
            if now >= self._due.get(key, -inf):
                times = self._times.pop(key)
                self._due[key] = now + _EVERY
                _log.warning("throttled", table=table, index=index, reason=reason, times=times)

    def breaker_changed(
        self, table: str, resource: str, state: CircuitState, reasons: Sequence[str]
    ) -> None:
        """Log that a breaker opened or closed; the resource is empty for that of a whole table."""
        if state is CircuitState.OPEN:
            _log.warning("breaker_opened", table=table, index=resource, reasons=list(reasons))
        else:
            _log.info("breaker_closed", table=table, index=resource)
