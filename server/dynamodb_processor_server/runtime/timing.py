"""When a follower does what: its clock, its pace, and how it backs off."""

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
    """How often a shard is read, and how far behind is too far; in seconds."""

    poll: float = 0.5
    max_lag: float = 10.0


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time comes from. `clock` gives seconds and never goes back; `random` is from 0 to 1."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    def backoff(self, failures: int) -> float:
        """Return for how long to wait after so many failures in a row: full jitter, in seconds."""
        ceiling = _BACKOFF_BASE * float(2 ** min(failures, _LONGEST_DOUBLING))
        return _BACKOFF_BASE + self.random() * min(_BACKOFF_CAP, ceiling)
