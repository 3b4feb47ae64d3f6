"""Time slices for evaluating conditions, so that the event loop can serve other callers between."""

from __future__ import annotations

import math
import time
from typing import Final

#: Seconds for which a builder evaluates before the event loop may run other tasks.
SLICE: Final = 0.005


class TimeSlice:
    """Says when to pause: `seconds` after its beginning, never if that is infinite."""

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
