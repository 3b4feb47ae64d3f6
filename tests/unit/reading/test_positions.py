"""Positions: start keys as bytes, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.reading.port import START
from dynamodb_processor_server.reading.positions import decode_position, encode_position, key_of

_values: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.text(min_size=1).map(lambda text: {"S": text}),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(lambda n: {"N": str(n)}),
    st.binary(min_size=1).map(lambda data: {"B": data}),
)


@given(st.dictionaries(st.text(min_size=1), _values, min_size=1, max_size=8))
def test_start_keys_survive(key: dict[str, dict[str, Any]]) -> None:
    """Names and values of every key type, and numbers digit for digit."""
    position = encode_position(key)
    assert decode_position(position) == key
    assert encode_position(dict(reversed(key.items()))) == position


@pytest.mark.parametrize(
    ("key", "position"),
    [
        ({"id": {"S": "é\n"}}, '[{"id":{"S":"é\\n"}}]'),
        ({"b": {"N": "-1.50"}, "a": {"S": "x"}}, '[{"a":{"S":"x"},"b":{"N":"-1.50"}}]'),
        ({"raw": {"B": b"\x00\xff\x10"}}, '[{"raw":{"B":"AP8Q"}}]'),
    ],
)
def test_positions_are_as_they_were(key: dict[str, Any], position: str) -> None:
    """They are part of tokens, so replicas of two releases must agree on them."""
    assert encode_position(key).decode() == position
    assert decode_position(position.encode()) == key


def test_the_start_has_no_key() -> None:
    """Nothing is nothing."""
    assert decode_position(START) is None


def test_a_key_is_taken_from_an_item() -> None:
    """The attributes of the path, in its order, and no other."""
    item = {"a": {"S": "x"}, "b": {"N": "1"}, "c": {"S": "y"}}
    assert key_of(item, ("c", "a")) == {"c": {"S": "y"}, "a": {"S": "x"}}
