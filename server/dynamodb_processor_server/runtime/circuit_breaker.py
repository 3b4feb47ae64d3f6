"""Circuit breakers: no requests for a moment after many failures, then a single one as a probe.

A breaker is closed until, within a sliding window, enough requests were made and enough of them
failed. Open, it rejects every request until `open_seconds` have passed. Then it is half-open: one
request, the probe, goes through, and its outcome closes or opens the breaker. A probe that ends
without an outcome, because its caller left, makes way for another.

The public breakers that were tried let every request that comes while half-open through as a probe.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeVar

_SLOTS: Final = 10  # parts of the window that are forgotten one by one
_JITTER: Final = 0.25  # a breaker is open up to so much longer, lest replicas probe at once
_SOON: Final = 0.25  # seconds until a retry while a probe is under way
_MOST_CAUSES: Final = 1_000

_T = TypeVar("_T")


class CircuitState(Enum):
    """The state of a breaker; the values are those of its metric."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Outcome(Enum):
    """The outcome of a request that was let through; IGNORED counts neither way."""

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """The failures at which breakers open, and the time for which they stay open.

    One opens when at least `minimum_calls` requests were made within `window` seconds and
    `failure_rate` of them failed, from 0 to 1. It stays open for `open_seconds` seconds or a little
    longer.
    """

    failure_rate: float = 0.5
    open_seconds: float = 2.0
    minimum_calls: int = 10
    window: float = 10.0


class CircuitOpenError(Exception):
    """A breaker lets no request through. `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"for another {retry_after:.3f} s")
        self.retry_after = retry_after


def _ignore(state: CircuitState) -> None:
    pass


class CircuitBreaker:
    """One breaker. `clock` gives seconds, `jitter` a number from 0 to 1.

    `changed` is called with OPEN when the breaker opens, and with CLOSED when it closes again; not
    for the probes between the two.
    """

    def __init__(
        self,
        settings: BreakerSettings,
        clock: Callable[[], float],
        jitter: Callable[[], float],
        changed: Callable[[CircuitState], None] = _ignore,
    ) -> None:
        self.state = CircuitState.CLOSED
        self._changed = changed
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._window: deque[list[int]] = deque()  # slot, calls, failures
        self._failed: dict[Hashable, int] = {}  # causes of failures, by their slot in the window
        self._until = 0.0
        self._probing = False
        # Counts the changes of state. A request that began before the last one is out of date.
        self._generation = 0

    def enter(self) -> Permit:
        """Let a request through, which must record its outcome; raise CircuitOpenError if open."""
        if self.state is not CircuitState.CLOSED:
            wait = self._until - self._clock()
            if wait > 0 or self._probing:
                raise CircuitOpenError(max(wait, _SOON))
            self.state = CircuitState.HALF_OPEN
            self._probing = True
        return Permit(self, self._generation)

    def record(self, generation: int, outcome: Outcome, cause: Hashable = None) -> None:
        """Record the outcome of a request that was let through in `generation`.

        The same `cause` counts once in the window: a request that always fails predicts nothing of
        others, however often it is made. None stands for a cause of its own each time.
        """
        if generation != self._generation:
            return
        if self.state is CircuitState.HALF_OPEN:
            self._probing = False
            if outcome is Outcome.FAILURE:
                self._open()
            elif outcome is Outcome.SUCCESS:
                self._change(CircuitState.CLOSED)
                self._changed(CircuitState.CLOSED)
        elif outcome is Outcome.FAILURE and cause is not None and self._has_failed(cause):
            return
        elif outcome is not Outcome.IGNORED and self._is_too_much(outcome is Outcome.FAILURE):
            self._open()

    def _has_failed(self, cause: Hashable) -> bool:
        """Return whether a cause has failed in the window, and record that it has by now."""
        slot = self._slot()
        if self._failed.get(cause, -_SLOTS) > slot - _SLOTS:
            return True
        if len(self._failed) >= _MOST_CAUSES:
            self._failed = {c: at for c, at in self._failed.items() if at > slot - _SLOTS}
        if len(self._failed) < _MOST_CAUSES:
            self._failed[cause] = slot
        return False

    def _slot(self) -> int:
        return int(self._clock() * _SLOTS / self._settings.window)

    def _is_too_much(self, failed: bool) -> bool:
        slot = self._slot()
        window = self._window
        if not window or window[-1][0] != slot:
            window.append([slot, 0, 0])
            while window[0][0] <= slot - _SLOTS:
                window.popleft()
        window[-1][1] += 1
        if not failed:
            return False
        window[-1][2] += 1
        calls = sum(entry[1] for entry in window)
        failures = sum(entry[2] for entry in window)
        settings = self._settings
        return calls >= settings.minimum_calls and failures >= settings.failure_rate * calls

    def _open(self) -> None:
        was_closed = self.state is CircuitState.CLOSED
        self._change(CircuitState.OPEN)
        longer = 1.0 + _JITTER * self._jitter()
        self._until = self._clock() + self._settings.open_seconds * longer
        if was_closed:
            self._changed(CircuitState.OPEN)

    def _change(self, state: CircuitState) -> None:
        self.state = state
        self._generation += 1
        self._window.clear()
        self._failed.clear()


@dataclass(slots=True)
class Permit:
    """The right to make one request."""

    breaker: CircuitBreaker
    generation: int

    def record(self, outcome: Outcome, cause: Hashable = None) -> None:
        """Record the outcome of the request, once; `cause` is as in `CircuitBreaker.record`."""
        self.breaker.record(self.generation, outcome, cause)


async def call_through(
    breaker: CircuitBreaker,
    seconds: float,
    ask: Callable[[], Awaitable[_T]],
    failure: type[Exception],
) -> _T:
    """Make one request through a breaker, within some seconds, and return the answer.

    A late answer and an error of type `failure` count as failures, any other error as success.

    Raises:
        CircuitOpenError: The breaker lets nothing through.
        TimeoutError: There was no answer in time.
    """
    permit = breaker.enter()
    outcome = Outcome.IGNORED  # if the caller leaves
    try:
        async with asyncio.timeout(seconds):
            answer = await ask()
        outcome = Outcome.SUCCESS
        return answer
    except Exception as error:
        failed = isinstance(error, failure | TimeoutError)
        outcome = Outcome.FAILURE if failed else Outcome.SUCCESS
        raise
    finally:
        permit.record(outcome)
