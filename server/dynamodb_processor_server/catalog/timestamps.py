"""Timestamps: RFC 3339 as callers write it, and the forms in which tables store times."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import ClassVar, Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS: Final = 10**9
_RFC3339: Final = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d)))?",
    re.ASCII,
)


def parse_instant(text: str) -> int:
    """Parse an RFC 3339 time, or a date (midnight in UTC), to nanoseconds since the epoch.

    Raises ValueError for any other text.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("is no RFC 3339 time, such as 2026-01-31T08:00:00Z")
    clock = match["time"] or "00:00:00"
    try:
        moment = datetime.fromisoformat(f"{match['date']}T{clock}+00:00")
        if match["sign"]:
            offset = timedelta(hours=int(match["hours"]), minutes=int(match["minutes"]))
            moment += offset if match["sign"] == "-" else -offset
    except (ValueError, OverflowError):
        raise ValueError("is no time of the calendar") from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return seconds * _NANOS + int((match["fraction"] or "").ljust(9, "0"))


@dataclass(frozen=True, slots=True)
class TimestampForm:
    """How an attribute stores times.

    `digits` is the number of digits after the decimal point of a second. `is_text` means UTC in ISO
    8601, with a fixed width so that texts sort as times; otherwise a number since the epoch.
    """

    CANONICAL_TAGS: ClassVar = ("timestamp_form", {"name": 1, "digits": 2, "is_text": 3})

    name: str
    digits: int
    is_text: bool

    @property
    def type(self) -> str:
        """The DynamoDB type of the stored value."""
        return "S" if self.is_text else "N"

    @property
    def width(self) -> int:
        """The number of characters of a stored text."""
        return len(self._text(0))

    def to_stored(self, instant: int) -> tuple[str | Decimal, bool]:
        """Return the stored form of an instant, and whether it represents it exactly.

        An inexact text is the latest representable one before the instant. Numbers are exact.
        """
        if not self.is_text:
            return Decimal(instant).scaleb(self.digits - 9), True
        unit = 10 ** (9 - self.digits)
        return self._text(instant // unit * unit), instant % unit == 0

    def to_rfc3339(self, stored: str) -> str | None:
        """Return a stored value as RFC 3339; None if it is not a time in this form."""
        if self.is_text:
            return stored
        try:
            number = Decimal(stored)
            if number != number.to_integral_value():
                return None
            return self._text(int(number.scaleb(9 - self.digits)))
        except (InvalidOperation, OverflowError):
            return None

    def is_stored(self, text: str) -> bool:
        """Return whether a text is a time in this form, which must be a form of text."""
        try:
            return self._text(parse_instant(text)) == text
        except ValueError:
            return False

    def _text(self, instant: int) -> str:
        seconds, nanos = divmod(instant, _NANOS)
        moment = _EPOCH + timedelta(seconds=seconds)
        fraction = f".{nanos // 10 ** (9 - self.digits):0{self.digits}d}" if self.digits else ""
        return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}{fraction}Z"


#: The forms by their names in the catalog.
FORMS: Final = {
    form.name: form
    for form in (
        TimestampForm("iso8601", 0, is_text=True),
        TimestampForm("iso8601_milliseconds", 3, is_text=True),
        TimestampForm("iso8601_microseconds", 6, is_text=True),
        TimestampForm("epoch_seconds", 0, is_text=False),
        TimestampForm("epoch_milliseconds", 3, is_text=False),
    )
}
