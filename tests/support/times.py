"""Stored and written times, by code of the tests' own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

#: The forms of stored times: digits of the second's fraction, and whether it is text.
FORMS: Final = {
    "iso8601": (0, True),
    "iso8601_milliseconds": (3, True),
    "iso8601_microseconds": (6, True),
    "epoch_seconds": (0, False),
    "epoch_milliseconds": (3, False),
}
SECOND: Final = 10**9
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def spelled(instant: int, digits: int, minutes: int | None = None) -> str:
    """Return a time with so many digits of the fraction, at an offset in minutes or in UTC."""
    seconds, nanos = divmod(instant + (minutes or 0) * 60 * SECOND, SECOND)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
    fraction = f".{nanos:09d}"[: digits + 1] if digits else ""
    if minutes is None:
        return f"{text}{fraction}Z"
    sign = "-" if minutes < 0 else "+"
    return f"{text}{fraction}{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"
