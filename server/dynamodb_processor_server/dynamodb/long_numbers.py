"""Shortens long numbers in DynamoDB's responses to scientific notation.

DynamoDB keeps `1E125` in three bytes and sends it as 126 digits. An item of 390 KB may be 17 MB of
JSON; in scientific notation the same item has less than 2 MB, as JSON, as Python objects and as a
message. Value and precision do not change.
"""

from __future__ import annotations

import re
from typing import Final

# Shorter runs of zeros stay: no number of up to 20 characters is changed, so that a number that
# fits 64 bits is still written as an integer.
_LEAST_ZEROS: Final = 20
_RUN: Final = b"0" * _LEAST_ZEROS
_WRITTEN: Final = rb'"(-?)(?:([1-9][0-9]{0,37}?)(0{%d,})|0\.(0{%d,})([1-9][0-9]{0,37}))"' % (
    _LEAST_ZEROS,
    _LEAST_ZEROS,
)
# Inside a JSON string quotes are escaped, so neither pattern can match there. Members of an `NS`
# are found in two steps: elsewhere a string of digits may be a plain string.
_NUMBER: Final = re.compile(rb'(?<="N":)' + _WRITTEN)
_SET: Final = re.compile(rb'"NS":\[[^\]]*\]')
_MEMBER: Final = re.compile(_WRITTEN)


def shorten_numbers(body: bytes) -> bytes:
    """Return a response of DynamoDB with long runs of zeros in numbers written as exponents."""
    if _RUN not in body:
        return body
    body = _NUMBER.sub(_scientific, body)
    if b'"NS":[' not in body:
        return body
    return _SET.sub(lambda found: _MEMBER.sub(_scientific, found[0]), body)


def _scientific(found: re.Match[bytes]) -> bytes:
    sign, digits, zeros, zeros_behind_point, fraction = found.groups()
    if zeros is not None:
        exponent = b"E+%d" % (len(digits) - 1 + len(zeros))
    else:
        digits = fraction.rstrip(b"0")
        exponent = b"E-%d" % (len(zeros_behind_point) + 1)
    point = b"." if len(digits) > 1 else b""
    return b'"%b%b%b%b%b"' % (sign, digits[:1], point, digits[1:], exponent)
