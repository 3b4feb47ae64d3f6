"""How long scenarios are: short in `make test`, in full in `make faults`.

Durations are compared with what is promised in full only, where nothing else runs. In `make test`
other suites, or anything else, have the same cores: there a test fails for what hangs or is wrong,
never for what is slow.
"""

from __future__ import annotations

import os
from typing import Final, TypeVar

_T = TypeVar("_T", int, float)

FULL: Final = os.environ.get("FAULTS") == "full"


def at_length(short: _T, full: _T) -> _T:
    """Return the value that goes with the length of scenarios in this run."""
    return full if FULL else short


# Seconds after which an awaited event counts as hung. A slow machine must never reach it, so it is
# short only where nothing else runs.
PATIENCE: Final = at_length(120.0, 10.0)


def timely(seconds: float, bound: float) -> bool:
    """Return whether a duration keeps its bound, in seconds; where others run beside, it does."""
    return seconds <= bound or not FULL
