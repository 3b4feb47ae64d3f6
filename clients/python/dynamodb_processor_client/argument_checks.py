"""Checks of callers' arguments before they become messages; each error names the argument."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final, SupportsFloat, SupportsIndex, TypeVar, cast

_T = TypeVar("_T")

_MAX_SHOWN: Final = 60  # characters of a wrong value in an error message
# Seconds. gRPC treats deadlines beyond its range as deadlines that have passed.
_ENDLESS: Final = 1e9
_HOST_AND_PORT: Final = re.compile(r"(?P<host>\[[^\]]*\]|[^/:\[\]]+):(?P<port>[^/:]*)")
# https://grpc.github.io/grpc/core/md_doc_naming.html
_SCHEMES: Final = frozenset({"dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds"})
_MAX_PORT: Final = 65_535


@contextmanager
def error_prefix(argument: str) -> Iterator[None]:
    """Prefix each `TypeError` and `ValueError` of the block with the name of an argument."""
    try:
        yield
    except TypeError as error:
        raise TypeError(f"{argument}: {error}") from None
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None


def text(argument: str, value: str) -> str:
    """Return a string that UTF-8 can encode.

    Raises:
        TypeError: The value is not a string.
        ValueError: The string has half a surrogate pair.
    """
    if not isinstance(value, str):
        raise TypeError(f"{argument} is a string, not {shown(value)}")
    with error_prefix(argument):
        check_characters(value)
    return value


def check_characters(value: str) -> None:
    """Raise `ValueError` for half a surrogate pair, which UTF-8 cannot encode."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"half a surrogate pair is no character: {shown(value)}") from None


def integer(argument: str, value: SupportsIndex, bits: int = 64) -> int:
    """Return an integer of at most `bits` bits; the service checks its range.

    Raises:
        TypeError: The value is not an integer. Booleans are not accepted.
        ValueError: The integer needs more bits.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{argument} is a whole number, not {shown(value)}")
    index = value.__index__()
    if not -(2 ** (bits - 1)) <= index < 2 ** (bits - 1):
        raise ValueError(f"{argument} is at most {2 ** (bits - 1) - 1}, not {_shortened(value)}")
    return index


def number(argument: str, value: object) -> float:
    """Return a number as a float; infinity for one beyond the range of floats.

    Raises:
        TypeError: The value is not a number. Booleans are not accepted.
        ValueError: The number is `nan`.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        remedy = "; total_seconds() gives the seconds" if isinstance(value, timedelta) else ""
        raise TypeError(f"{argument} is a number, not {shown(value)}{remedy}")
    try:
        real = float(value)
    except OverflowError:
        return math.inf
    if math.isnan(real):
        raise ValueError(f"{argument} is a number, not nan")
    return real


def seconds(argument: str, value: float | None) -> float | None:
    """Return a time limit in seconds; `None` for no limit, and for one of 1e9 seconds or more.

    Raises:
        TypeError: The value is not a number.
        ValueError: The number is `nan`.
    """
    limit = math.inf if value is None else number(argument, value)
    return limit if limit < _ENDLESS else None


def flag(argument: str, value: bool) -> bool:
    """Return a Boolean. Strings such as `"false"`, which are true in Python, are refused.

    Raises:
        TypeError: The value is not a Boolean.
    """
    if value not in (True, False, None):
        raise TypeError(f"{argument} is True or False, not {shown(value)}")
    return bool(value)


def instance(argument: str, value: _T | None, kind: type[_T]) -> _T | None:
    """Return an instance of a class, or `None`.

    Raises:
        TypeError: The value has another type.
    """
    if value is not None and not isinstance(value, kind):
        name = kind.__name__
        if type(value).__name__ == name:  # of the asynchronous client instead of the synchronous
            name = f"{kind.__module__}.{name}"
        raise TypeError(f"{argument} is a {name}, not {shown(value)}")
    return value


def aware_time(argument: str, value: datetime) -> datetime:
    """Return a time with a time zone: without one it would depend on the machine's.

    Raises:
        TypeError: The value is not a `datetime`.
        ValueError: The time has no time zone, or is outside of the years 1 to 9999 in UTC.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{argument} is a datetime, not {shown(value)}")
    if value.utcoffset() is None:
        raise ValueError(f"{argument} has no time zone; datetime.now(UTC) has one: {shown(value)}")
    try:
        value.astimezone(UTC)
    except OverflowError as error:
        years = "outside of the years 1 to 9999 in UTC"
        raise ValueError(f"{argument} is {years}: {shown(value)}") from error
    return value


def mapping(argument: str, value: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a mapping whose names UTF-8 can encode; an empty one for `None`.

    Raises:
        TypeError: The value is not a mapping, or a name is not a string.
        ValueError: A name has half a surrogate pair.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{argument} is a mapping from name to value, not {shown(value)}")
    for name in value:
        text(f"a name in {argument}", name)
    return value


def paths(argument: str, value: Sequence[str] | None) -> list[str]:
    """Return document paths as a list; an empty one for `None`.

    Raises:
        TypeError: The value is a single string, or a path is not a string.
        ValueError: A path has half a surrogate pair.
    """
    if value is None:
        return []
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        raise TypeError(f"{argument} takes a list of paths, not {shown(value)}")
    return [text(f"{argument}[{index}]", path) for index, path in enumerate(value)]


def target(value: str) -> str:
    """Return the address of a service in a form that gRPC accepts.

    Raises:
        TypeError: The value is not a string.
        ValueError: The address is empty, is an HTTP URL, or has an invalid port.
    """
    text("target", value)
    if re.match(r"https?://", value, re.IGNORECASE):
        raise ValueError(f"target is HOST:PORT, without http:// or https://, not {value!r}")
    if not value.strip() or value != value.strip():
        raise ValueError(f"target is HOST:PORT, such as 127.0.0.1:50051, not {value!r}")
    match = _HOST_AND_PORT.fullmatch(value)
    if match and match["host"] not in _SCHEMES:
        port = match["port"]
        if not (port.isascii() and port.isdecimal() and 0 < int(port[:9]) <= _MAX_PORT):
            raise ValueError(f"target's port is a number from 1 to {_MAX_PORT}, not {port!r}")
    elif value.endswith("/") and ":/" not in value:
        raise ValueError(f"target is HOST:PORT, without a path, not {value!r}")
    return value


def targets(value: str | Sequence[str], *, affinity: bool) -> tuple[str, ...]:
    """Return the address of a service, or those of its replicas.

    Raises:
        TypeError: An address is not a string.
        ValueError: There is none, one is wrong or given twice, or there are several without
            affinity.
    """
    if not isinstance(value, list | tuple):
        return (target(cast(str, value)),)
    found = tuple(map(target, value))
    if not found:
        raise ValueError("target has no address: give at least one")
    twice = next((each for each in found if found.count(each) > 1), None)
    if twice is not None:
        raise ValueError(f"target has {shown(twice)} twice")
    if len(found) > 1 and not affinity:
        raise ValueError(
            "target has several addresses, which need affinity=True; without it name them in one "
            "target, such as ipv4:10.0.0.1:50051,10.0.0.2:50051"
        )
    return found


def shown(value: object) -> str:
    """Return a wrong value for an error message, at most 60 characters of it."""
    return _shortened(repr(value))


def _shortened(value: object) -> str:
    text = str(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."
