"""Converts single values of items to the types of Python, or says why they do not fit."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Final, TypeAlias

Converter: TypeAlias = Callable[[Any], Any]

_KINDS: Final[Mapping[type, str]] = {
    str: "a string",
    Decimal: "a number",
    bytes: "binary",
    bool: "a Boolean",
    type(None): "null",
    set: "a set",
    list: "a list",
    dict: "a map",
}
_TOO_FINE: Final = re.compile(r"[.,][0-9]{7}")
_MAX_SHOWN: Final = 60  # characters of a value in an error message


class Mismatch(Exception):
    """A value does not fit: the reason, and the path of the value."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path

    def at(self, step: str) -> Mismatch:
        """Return the same, where the value is that of a name, or of `[0]`, in another one."""
        joint = "" if not self.path or self.path.startswith("[") else "."
        return Mismatch(self.reason, f"{step}{joint}{self.path}")


def require(value: Any, kind: type) -> None:
    """Raise `Mismatch` unless a value is of exactly this type: a Boolean is no number."""
    if type(value) is not kind:
        raise Mismatch(f"{_KINDS[kind]} is expected, not {described(value)}")


def _exactly(kind: type, value: Any) -> Any:
    require(value, kind)
    return value


def _to_int(value: Any) -> int:
    require(value, Decimal)
    if value != value.to_integral_value():
        raise Mismatch(f"{_shown(value)} is no whole number")
    return int(value)


def _to_float(value: Any) -> float:
    require(value, Decimal)
    return float(value)


def _to_datetime(value: Any) -> datetime:
    require(value, str)
    if _TOO_FINE.search(value):
        raise Mismatch(f"{_shown(value)} has digits below a microsecond")
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        raise Mismatch(f"{_shown(value)} is no time in the form of RFC 3339") from None
    if parsed.utcoffset() is None:
        raise Mismatch(f"{_shown(value)} has no time zone")
    return parsed


def _to_date(value: Any) -> date:
    require(value, str)
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise Mismatch(f"{_shown(value)} is no date such as 2026-01-31") from None


def _to_none(value: Any) -> None:
    require(value, type(None))


def to_member(members: Sequence[tuple[Any, Any]], value: Any) -> Any:
    """Return the member of an enumeration or a literal."""
    for known, member in members:
        # 1 and True are equal in Python, and are a number and a Boolean in an item.
        if known == value and isinstance(known, bool) == isinstance(value, bool):
            return member
    raise Mismatch(f"{_shown(value)} is none of {', '.join(repr(known) for known, _ in members)}")


def described(value: Any) -> str:
    """Return the kind of a value in words."""
    return _KINDS.get(type(value), type(value).__name__)


def _shown(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


SCALARS: Final[Mapping[type, Converter]] = {
    **{kind: partial(_exactly, kind) for kind in (str, bytes, bool, Decimal)},
    int: _to_int,
    float: _to_float,
    datetime: _to_datetime,
    date: _to_date,
    type(None): _to_none,
}
