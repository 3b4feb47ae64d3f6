"""The length of scenarios: short in `make test`, full in `make faults`.

Durations are compared with their promised bounds only in full runs, where no other tests run. In
`make test` other suites, or other programs, share the cores: there a test fails if the server hangs
or is wrong, never if it is slow.
"""

from __future__ import annotations

import os
from typing import Final, TypeVar

_T = TypeVar("_T", int, float)

FULL: Final = os.environ.get("FAULTS") == "full"


def at_length(short: _T, full: _T) -> _T:
    """Return the value for the length of scenarios in this run."""
    return full if FULL else short


# Seconds after which an awaited event counts as hung. A slow machine must never reach it, so it is
# short only where nothing else runs.
PATIENCE: Final = at_length(120.0, 10.0)


def timely(seconds: float, bound: float) -> bool:
    """Return whether a duration keeps its bound, in seconds; true in short runs."""
    return seconds <= bound or not FULL
