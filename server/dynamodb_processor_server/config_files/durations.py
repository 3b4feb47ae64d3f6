"""Durations as operators write them: `300`, `300s` and `5m` are all numbers of seconds."""

from __future__ import annotations

import math
import re
from typing import Final

from pydantic import BeforeValidator

_DURATION: Final = re.compile(r"([0-9.eE+-]+)(ms|s|m|h)?")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600}


def duration(lowest: float, highest: float, *, above: bool = False) -> BeforeValidator:
    """Return the validator of a duration, which makes seconds of it.

    A duration is a number of seconds, or a text of a number and one of the units `ms`, `s`, `m` and
    `h`; without a unit the text means seconds.

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
        seconds = _read(str(given), None)
    elif isinstance(given, str) and (parts := _DURATION.fullmatch(given.strip())):
        seconds = _read(*parts.groups())
    if math.isnan(seconds):
        raise ValueError("must be a number of seconds, such as 300, or a duration such as 300s, 5m")
    return seconds


def _read(number: str, unit: str | None) -> float:
    """Return the seconds that a number of a unit are, NaN if the number is none."""
    try:
        amount = float(number)
    except ValueError:
        return math.nan
    # Divided and not multiplied by 0.001, which has no exact binary form: 700ms is 0.7.
    return amount / 1_000 if unit == "ms" else amount * _SECONDS[unit or "s"]


def _text(seconds: float) -> str:
    return f"{seconds:.12g}"
