"""Plants a fault in a value that was read from a deployment file."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Final

#: The value of a fault that takes a part away.
ABSENT: Final = object()


def planted(value: Any, path: Sequence[str | int], fault: Any) -> Any:
    """Return a copy in which the part at a path is the fault."""
    changed = copy.deepcopy(value)
    parent = changed
    for step in path[:-1]:
        parent = parent[step]
    if fault is ABSENT:
        del parent[path[-1]]
    else:
        parent[path[-1]] = fault
    return changed
