"""Requests about tables that concurrent callers share, with bounds on the callers that wait."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

from dynamodb_processor_server.errors import DeadlineExceeded, Overloaded, RateLimited
from dynamodb_processor_server.runtime.single_flight import Flight, SingleFlight

_MOST_WAITING: Final = 1_000  # callers, for all requests
_RETRY_AFTER: Final = 1.0  # seconds

_V = TypeVar("_V")


class SharedCalls(Generic[_V]):
    """The requests under way, by name.

    A caller waits for `patience` seconds at most, by the event loop's clock, or until its deadline,
    with which it is cancelled.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._flights: SingleFlight[str, Flight[_V]] = SingleFlight()
        self._waiting = 0
        self._by_principal: Counter[str] = Counter()

    async def call(
        self, name: str, request: Callable[[], Coroutine[Any, Any, _V]], principal: str = ""
    ) -> _V:
        """Return the result of a request, which is made now unless it is under way.

        Raises as the request does, Overloaded if too many callers wait already, RateLimited if
        half of those are the principal's own, and DeadlineExceeded.
        """
        if principal and self._by_principal[principal] >= _MOST_WAITING // 2:
            message = "too many calls of this principal wait for descriptions of tables"
            raise RateLimited(principal, message, _RETRY_AFTER)
        if self._waiting >= _MOST_WAITING:
            raise Overloaded("too many calls wait for descriptions of tables", _RETRY_AFTER)
        flight = self._flights.find(name) or self._flights.start(
            name, Flight(asyncio.create_task(request(), name=name))
        )
        self._waiting += 1
        self._by_principal[principal] += 1
        self._flights.join(flight)
        try:
            await asyncio.wait((flight.task,), timeout=self._patience)
            if not flight.task.done():
                raise DeadlineExceeded("the deadline passed before DynamoDB described its tables")
            return flight.task.result()
        finally:
            self._waiting -= 1
            self._by_principal[principal] -= 1
            if not self._by_principal[principal]:
                del self._by_principal[principal]
            self._flights.leave(name, flight)

    def forget(self) -> None:
        """Let no further caller wait for the requests under way: they may be out of date."""
        self._flights.forget()
