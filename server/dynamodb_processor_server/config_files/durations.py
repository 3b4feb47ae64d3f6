"""Parses durations in settings and files: `300`, `300s` and `5m` all mean a number of seconds."""

from __future__ import annotations

import math
import re
from typing import Final

from pydantic import BeforeValidator

_DURATION: Final = re.compile(r"([0-9.eE+-]+)(ms|s|m|h)?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600}


def duration(lowest: float, highest: float, *, above: bool = False) -> BeforeValidator:
    """Return a validator that converts a duration to seconds and checks its bounds.

    A duration is a number of seconds, or a text of a number and one of the units `ms`, `s`, `m` and
    `h`. A text without a unit means seconds.

    Args:
        lowest: The shortest duration, in seconds.
        highest: The longest duration, in seconds.
        above: Whether `lowest` itself is refused.
    """
    allowed = f"must be {_text(lowest)} to {_text(highest)} seconds"
    if above:
        allowed = f"must be more than {_text(lowest)} and at most {_text(highest)} seconds"

    def check(given: object) -> float:
        seconds = _seconds(given)
        if not lowest <= seconds <= highest or (above and seconds == lowest):
            raise ValueError(allowed)
        return seconds

    return BeforeValidator(check)


def _seconds(given: object) -> float:
    seconds = math.nan
    if isinstance(given, int | float) and not isinstance(given, bool):
        seconds = _parse(str(given), None)
    elif isinstance(given, str) and (parts := _DURATION.fullmatch(given.strip())):
        seconds = _parse(*parts.groups())
    if math.isnan(seconds):
        raise ValueError("must be a number of seconds, such as 300, or a duration such as 300s, 5m")
    return seconds


def _parse(number: str, unit: str | None) -> float:
    """Convert a number with a unit to seconds; return NaN if the text is not a number."""
    try:
        amount = float(number)
    except ValueError:
        return math.nan
    # Division by 1,000 gives 0.7 for 700ms; 0.001 has no exact binary form to multiply by.
    return amount / 1_000 if unit == "ms" else amount * _SECONDS[unit or "s"]


def _text(seconds: float) -> str:
    return f"{seconds:.12g}"
