"""A stream consumer's clock, poll settings and backoff."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

_BACKOFF_BASE: Final = 0.25
_BACKOFF_CAP: Final = 5.0
_LONGEST_DOUBLING: Final = 10


@dataclass(frozen=True, slots=True)
class PollSettings:
    """Seconds between two reads of a shard, and the largest lag in seconds.

    `delay` is the longest time, in seconds, from a write to its record in the stream.
    """

    interval: float = 0.5
    max_lag: float = 10.0
    delay: float = 2.0


@dataclass(frozen=True, slots=True)
class Clock:
    """The source of time: `now` gives seconds and never goes back; `random` gives 0 to 1.

    `wall` gives seconds since the epoch, and may differ from the clocks of other machines.
    """

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random
    wall: Callable[[], float] = time.time

    def backoff(self, failures: int) -> float:
        """Return the seconds to wait after so many failures in a row: a minimum and full jitter."""
        ceiling = _BACKOFF_BASE * float(2 ** min(failures, _LONGEST_DOUBLING))
        return _BACKOFF_BASE + self.random() * min(_BACKOFF_CAP, ceiling)
