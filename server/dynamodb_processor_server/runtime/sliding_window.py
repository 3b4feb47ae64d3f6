"""Sliding window counters: calls of the previous window count by the part that still overlaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import floor

from dynamodb_processor_server.runtime.bounded_state import SweptDict

#: The calls that are counted together: rate class, principal, and table, empty for all of them.
Key = tuple[str, str, str]


@dataclass(slots=True)
class _Window:
    """The calls of two adjacent windows, of which the later is the `index`-th since the epoch.

    Each has `length` seconds.
    """

    length: int
    index: int
    previous: int
    current: int


class SlidingWindowCounter:
    """Windows in this process. `clock` gives seconds, never going back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._by_key: SweptDict[Key, _Window] = SweptDict(self._is_over)

    def acquire(self, key: Key, limit: int, length: int) -> bool:
        """Count a call if that stays within `limit` in `length` seconds; return whether it did."""
        now = self._clock() / length
        window = self._by_key.get(key)
        if window is None or window.index != floor(now):
            window = self._at(key, now, length)
        if (
            window.previous + window.current >= limit  # as for few calls, for which this is enough
            and floor(window.previous * (1 - now % 1)) + window.current >= limit
        ):
            return False
        window.current += 1
        return True

    def add(self, key: Key, length: int) -> None:
        """Count a call, even beyond a limit."""
        self._at(key, self._clock() / length, length).current += 1

    def wait_for(self, key: Key, limit: int, length: int) -> float:
        """Return the seconds until a call can be counted, if no other call is counted before."""
        now = self._clock() / length
        window = self._at(key, now, length)
        return length * windows_until(limit, window.previous, window.current, now % 1)

    def counts(self, length_of: Callable[[str], int]) -> Iterator[tuple[Key, int]]:
        """Yield the current number of calls in each key's window; safe in another thread.

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

    def _is_over(self, window: _Window) -> bool:
        """Return whether the calls of both windows count no more."""
        return floor(self._clock() / window.length) > window.index + 1

    def _at(self, key: Key, now: float, length: int) -> _Window:
        """Return the key's windows at time `now`, which is counted in windows."""
        index = floor(now)
        window = self._by_key.get(key)
        if window is None:
            window = self._by_key.add(key, _Window(length, index, 0, 0))
        elif window.index != index:
            window.previous = window.current if window.index == index - 1 else 0
            window.index, window.current = index, 0
        return window


def windows_until(limit: int, previous: int, current: int, passed: float) -> float:
    """Return the time, counted in windows, until one more call is within `limit`.

    The weighted count falls in a straight line, so the time can be computed.

    Args:
        limit: The most calls in one window.
        previous: The calls of the previous window.
        current: The calls of this window.
        passed: The part of this window that has passed, from 0 to 1.
    """
    left = 1 - passed
    # The weighted count is rounded down, so it must be under the limit.
    if current < limit:
        wait = left - (limit - current) / previous if previous else 0
    else:
        wait = left + 1 - limit / current
    return max(0.0, wait)
