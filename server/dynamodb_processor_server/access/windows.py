"""Sliding windows: what the window before took is weighted by how much of it is still near."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor

#: Whose calls are counted: the rate class and the principal.
Key = tuple[str, str]


@dataclass(slots=True)
class _Window:
    """The calls of two adjacent windows, of which the later is the `index`-th since the epoch."""

    index: int
    previous: int
    current: int


class Windows:
    """Windows in this process. `clock` gives seconds, never going back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_key: dict[Key, _Window] = {}

    def acquire(self, key: Key, limit: int, length: int, amount: int) -> bool:
        """Take `amount` if that stays within `limit` in `length` seconds; return whether it did."""
        now = self._clock() / length
        window = self._at(key, now)
        if floor(window.previous * (1 - now % 1)) + window.current + amount > limit:
            return False
        window.current += amount
        return True

    def add(self, key: Key, length: int, amount: int) -> None:
        """Take `amount`, whether that stays within a limit or not."""
        self._at(key, self._clock() / length).current += amount

    def wait_for(self, key: Key, limit: int, length: int, amount: int) -> float:
        """Return the seconds until `amount` can be acquired if nobody else acquires any."""
        now = self._clock() / length
        window = self._at(key, now)
        return length * windows_until(amount, limit, window.previous, window.current, now % 1)

    def counts(self, length_of: Callable[[str], int]) -> Iterator[tuple[Key, int]]:
        """Yield what each key has in its window by now; safe in another thread.

        Args:
            length_of: The seconds of a window of a rate class.
        """
        for key, window in list(self._by_key.items()):
            now = self._clock() / length_of(key[0])
            match floor(now) - window.index:
                case 0:
                    yield key, floor(window.previous * (1 - now % 1)) + window.current
                case 1:
                    yield key, floor(window.current * (1 - now % 1))
                case _:
                    yield key, 0

    def _at(self, key: Key, now: float) -> _Window:
        """Return the key's windows, moved on to `now`, which is counted in windows."""
        index = floor(now)
        window = self._by_key.get(key)
        if window is None:
            window = self._by_key[key] = _Window(index, 0, 0)
        elif window.index != index:
            window.previous = window.current if window.index == index - 1 else 0
            window.index, window.current = index, 0
        return window


def windows_until(amount: int, limit: int, previous: int, current: int, passed: float) -> float:
    """Return for how many windows' time one has to wait until `amount` more is within `limit`.

    The weighted count falls in a straight line, so the moment can be computed. The whole of a
    window and the next is the answer when `amount` is above the limit.

    Args:
        amount: What is to be taken.
        limit: What one window may take.
        previous: What the window before has taken.
        current: What this one has taken.
        passed: How much of this one has passed, from 0 to 1.
    """
    left = 1 - passed
    # The weighted count is rounded down, so it must be under this.
    room = limit - amount + 1
    if amount > limit:
        wait = left + 1
    elif current < room:
        wait = left - (room - current) / previous if previous else 0
    else:
        wait = left + 1 - room / current
    return max(0.0, wait)
