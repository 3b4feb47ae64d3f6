"""How often, and how soon, a request to DynamoDB is made again.

Two things bound it besides the call's deadline: the attempts at one request, and a budget for each
table and each throttled index, so that a table in trouble gets hardly more requests than one that
is well. The budget is that of gRPC's own retry throttling (gRFC A6), as the sources of both are the
same: AWS's architecture blog on exponential backoff and jitter, and the chapter on overload in
Google's SRE book. The pauses are those of AWS's SDKs for DynamoDB since 2026.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_FIRST_PAUSE: Final = 0.025  # seconds, doubled with each retry
_LONGEST_PAUSE: Final = 1.0
# Capacity comes back by the second: a retry after some milliseconds is throttled again.
_FIRST_PAUSE_THROTTLED: Final = 1.0
_LONGEST_PAUSE_THROTTLED: Final = 20.0
_MAX_DOUBLINGS: Final = 6  # from either first pause to beyond the longest

_MOST_TENTHS: Final = 100
_TENTHS_PER_RETRY: Final = 10


def backoff_delay(
    retry: int, jitter: Callable[[], float], *, throttled: bool = False, at_least: float = 0.0
) -> float:
    """Return the seconds to wait before a retry, counted from 1: full jitter, growing.

    They grow from 25 ms to 1 s; after a `throttled` request from 1 s to 20 s. `at_least` is the
    pause in seconds that the answer asked for.
    """
    first = _FIRST_PAUSE_THROTTLED if throttled else _FIRST_PAUSE
    longest = _LONGEST_PAUSE_THROTTLED if throttled else _LONGEST_PAUSE
    pause = min(longest, first * 2.0 ** min(retry - 1, _MAX_DOUBLINGS)) * jitter()
    return max(pause, at_least)


class RetryBudget:
    """Retries left. Each retry takes one; each success gives a tenth back, up to ten."""

    def __init__(self) -> None:
        self._tenths = _MOST_TENTHS

    @property
    def is_full(self) -> bool:
        """Whether a success gives nothing back."""
        return self._tenths == _MOST_TENTHS

    def spend(self) -> bool:
        """Take one retry; return False when there is none left to take."""
        if self._tenths < _TENTHS_PER_RETRY:
            return False
        self._tenths -= _TENTHS_PER_RETRY
        return True

    def refill(self) -> None:
        """Note a success."""
        self._tenths = min(_MOST_TENTHS, self._tenths + 1)
