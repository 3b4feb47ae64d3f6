"""Conditions that the service evaluates, in slices: one event loop serves other callers as well."""

from __future__ import annotations

import math
import time
from typing import Final, Protocol

#: Seconds for which a builder evaluates before the loop takes its turn.
SLICE: Final = 0.005


class TimeSlice:
    """Says when to pause: `seconds` after it was begun, never if that is infinite."""

    __slots__ = ("_seconds", "_until")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until = math.inf

    def begin(self) -> None:
        """Begin a slice."""
        if self._seconds < math.inf:
            self._until = time.perf_counter() + self._seconds

    @property
    def over(self) -> bool:
        """Whether it is time to pause."""
        return self._until < math.inf and time.perf_counter() > self._until


class EvaluationLimits(Protocol):
    """Who pays for the evaluation that the current call causes."""

    def check(self) -> None:
        """Raise RateLimited for a caller who is deep in debt."""
        ...

    def charge(self, seconds: float) -> None:
        """Take the seconds of processor that evaluation has taken."""
        ...


class Unlimited:
    """Nobody pays."""

    def check(self) -> None:
        """Let everybody go on."""

    def charge(self, seconds: float) -> None:
        """Count nothing."""
