"""How long scenarios are: short in `make test`, in full in `make faults`.

Times are held to what is promised in full only, where nothing else runs that is measured: in
`make test` a second suite has the same cores, so there the bounds are for what hangs, and not for
what is slow.
"""

from __future__ import annotations

import os
from typing import Final

FULL: Final = os.environ.get("FAULTS") == "full"


def at_length(short: int, full: int) -> int:
    """Return what goes with how long scenarios are in this run."""
    return full if FULL else short
