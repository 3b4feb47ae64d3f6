"""Long numbers become short, and nothing else changes."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given

from dynamodb_processor_server.dynamodb.long_numbers import shorten_numbers
from dynamodb_processor_server.query.expression.values import parse_number
from tests.unit.query.expression.wire_values import wire_values

_DIGITS = "12345678901234567890123456789012345678"


def written(number: str) -> str:
    """Return a number in the form in which DynamoDB sends it."""
    return format(Decimal(number), "f")


@pytest.mark.parametrize(
    ("number", "sent"),
    [
        ("1E125", "1E+125"),
        ("-1E125", "-1E+125"),
        ("1E-130", "1E-130"),
        ("-1.5E-130", "-1.5E-130"),
        ("9.99E+125", "9.99E+125"),
        (f"{_DIGITS}E88", f"1.{_DIGITS[1:]}E+125"),
        (f"{_DIGITS}E-167", f"1.{_DIGITS[1:]}E-130"),
        ("1E20", "1E+20"),
        ("1E19", "1" + "0" * 19),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1700000000000000000", "1700000000000000000"),
        (_DIGITS, _DIGITS),
        ("0", "0"),
        ("100.5", "100.5"),
        (f"1{'0' * 30}1E5", f"1{'0' * 30}100000"),
    ],
)
def test_a_long_number_is_shortened(number: str, sent: str) -> None:
    """Its value and precision stay, alone and in sets, lists and maps."""
    text = written(number)
    one: dict[str, Any] = {"N": text}
    item = {"n": one, "ns": {"NS": ["7", text]}, "l": {"L": [one]}, "m": {"M": {"N": one}}}
    read = orjson.loads(
        shorten_numbers(orjson.dumps({"Items": [item], "LastEvaluatedKey": {"n": one}}))
    )
    short = {"N": sent}
    assert read["LastEvaluatedKey"] == {"n": short}
    assert read["Items"] == [
        {"n": short, "ns": {"NS": ["7", sent]}, "l": {"L": [short]}, "m": {"M": {"N": short}}}
    ]
    assert parse_number(sent) == Decimal(number)


_LONG = "1" + "0" * 125


@pytest.mark.parametrize(
    "value",
    [
        {"S": _LONG},
        {"SS": [_LONG, "a"]},
        {"L": [{"S": _LONG}, {"SS": [_LONG]}]},
        {"S": f'"N":"{_LONG}"'},
        {"S": f'"NS":["{_LONG}"]'},
        {"M": {"N": {"S": _LONG}, "NS": {"SS": [_LONG]}, _LONG: {"NULL": True}}},
        {"B": "0" * 40},
    ],
)
def test_text_that_looks_like_a_number_stays(value: dict[str, Any]) -> None:
    """Strings, names and binary values do not change."""
    answer = {"Item": {"N": value, "NS": value, "n": {"N": _LONG}}}
    read = orjson.loads(shorten_numbers(orjson.dumps(answer)))
    assert read == {"Item": {"N": value, "NS": value, "n": {"N": "1E+125"}}}


def _written(wire: Any) -> Any:
    """Return a wire value in the form in which DynamoDB sends it, with binary in base64."""
    match wire:
        case {"N": str(text)}:
            return {"N": written(text)}
        case {"NS": list(texts)}:
            return {"NS": list(map(written, texts))}
        case dict():
            return {name: _written(value) for name, value in wire.items()}
        case list():
            return list(map(_written, wire))
        case bytes():
            return wire.hex()
    return wire


def _values(wire: Any) -> Any:
    """Return a wire value with its numbers as decimals."""
    match wire:
        case {"N": str(text)}:
            return {"N": Decimal(text)}
        case {"NS": list(texts)}:
            return {"NS": list(map(Decimal, texts))}
        case dict():
            return {name: _values(value) for name, value in wire.items()}
        case list():
            return list(map(_values, wire))
    return wire


@given(wire_values)
def test_every_value_stays_equal(value: dict[str, Any]) -> None:
    """Values of every type and depth are compared."""
    sent = {"Item": {"a": _written(value)}}
    body = orjson.dumps(sent)
    read = orjson.loads(shorten_numbers(body))
    assert _values(read) == _values(sent)
    assert len(shorten_numbers(body)) <= len(body)
