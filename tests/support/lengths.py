"""How long scenarios are: short in `make test`, in full in `make faults`."""

from __future__ import annotations

import os
from typing import Final

FULL: Final = os.environ.get("FAULTS") == "full"


def at_length(short: int, full: int) -> int:
    """Return what goes with how long scenarios are in this run."""
    return full if FULL else short
