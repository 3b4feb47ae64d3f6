"""Timestamps: what callers write, RFC 3339, and the forms in which tables store them."""

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
    """Return the nanoseconds since the epoch of an RFC 3339 time, or of a date's midnight in UTC.

    Raise ValueError for anything else.
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

    `digits` are those of the second's fraction. `is_text` means UTC in ISO 8601, always of the same
    width, so that times sort as they should; else it is a number since the epoch.
    """

    CANONICAL_TAGS: ClassVar = ("timestamp_form", {"name": 1, "digits": 2, "is_text": 3})

    name: str
    digits: int
    is_text: bool

    @property
    def type(self) -> str:
        """The DynamoDB type of what is stored."""
        return "S" if self.is_text else "N"

    @property
    def width(self) -> int:
        """The characters of a stored text."""
        return len(self._text(0))

    def stored(self, instant: int) -> tuple[str | Decimal, bool]:
        """Return the stored form of an instant, and whether it says it exactly.

        A text that does not is the latest one before the instant. Numbers are always exact.
        """
        if not self.is_text:
            return Decimal(instant).scaleb(self.digits - 9), True
        unit = 10 ** (9 - self.digits)
        return self._text(instant // unit * unit), instant % unit == 0

    def shown(self, stored: str) -> str | None:
        """Return the RFC 3339 text of what is stored, None for what is no time in this form."""
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
        """Return whether a text is a time in this form, which is a text's."""
        try:
            return self._text(parse_instant(text)) == text
        except ValueError:
            return False

    def _text(self, instant: int) -> str:
        seconds, nanos = divmod(instant, _NANOS)
        moment = _EPOCH + timedelta(seconds=seconds)
        fraction = f".{nanos // 10 ** (9 - self.digits):0{self.digits}d}" if self.digits else ""
        return f"{moment.replace(tzinfo=None).isoformat(timespec='seconds')}{fraction}Z"


#: The forms by the names that catalogs use.
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
