"""State by principal whose size is bounded, though bearer tokens bring any number of principals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

K = TypeVar("K")
V = TypeVar("V")

#: The name in metrics for all principals beyond the first ones.
OTHER: Final = "@other"
_MAX_NAMES: Final = 1_000
_SMALLEST: Final = 1_024


class SweptDict(dict[K, V]):
    """A dictionary that drops idle entries when it has twice as many as were busy before.

    An idle entry is one that a new one would equal, such as a full token bucket. So only callers of
    the last minutes take memory, and a sweep costs no more than the additions before it.
    """

    __slots__ = ("_is_idle", "_smallest", "_sweep_at")

    def __init__(self, is_idle: Callable[[V], bool], smallest: int = _SMALLEST) -> None:
        """Create an empty dictionary, in which up to `smallest` entries may stay idle."""
        super().__init__()
        self._is_idle = is_idle
        self._smallest = self._sweep_at = smallest

    def add(self, key: K, value: V) -> V:
        """Add an entry, after a sweep if it is due, and return its value."""
        if len(self) >= self._sweep_at:
            for idle in [each for each, state in self.items() if self._is_idle(state)]:
                del self[idle]
            self._sweep_at = max(self._smallest, 2 * len(self))
        self[key] = value
        return value


class BoundedNames:
    """Names of principals in metrics: the first ones as they are, all later ones as `OTHER`."""

    def __init__(self, limit: int = _MAX_NAMES) -> None:
        self._limit = limit
        self._known: set[str] = set()

    def __call__(self, name: str) -> str:
        """Return the name under which a principal is counted."""
        if name not in self._known:
            if len(self._known) >= self._limit:
                return OTHER
            self._known.add(name)
        return name
