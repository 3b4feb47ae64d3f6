"""Cursors: the progress of each partition as bytes, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamodb_processor_server.cursor import (
    EXHAUSTED,
    PartitionCursor,
    decode_cursor,
    encode_cursor,
    key_of,
    padded,
    unpadded,
)
from dynamodb_processor_server.reader import START

_values: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.text(min_size=1).map(lambda text: {"S": text}),
    st.decimals(allow_nan=False, allow_infinity=False, places=5).map(lambda n: {"N": str(n)}),
    st.binary(min_size=1).map(lambda data: {"B": data}),
)
_keys = st.dictionaries(st.text(min_size=1), _values, min_size=1, max_size=8)


@given(_keys)
def test_start_keys_survive(key: dict[str, dict[str, Any]]) -> None:
    """Names and values of every key type survive, and numbers digit for digit."""
    cursor = encode_cursor([key])
    assert decode_cursor(cursor, 1) == [key]
    assert encode_cursor([dict(reversed(key.items()))]) == cursor


@given(st.lists(st.one_of(st.none(), st.just(EXHAUSTED), _keys), min_size=1, max_size=50))
def test_cursors_of_several_partitions_survive(partition_cursors: list[PartitionCursor]) -> None:
    """Each partition has its own progress: at its start, after an item, or at its end."""
    assert (
        decode_cursor(encode_cursor(partition_cursors), len(partition_cursors)) == partition_cursors
    )


@pytest.mark.parametrize(
    ("partition_cursors", "encoded"),
    [
        ([{"id": {"S": "é\n"}}], '[{"id":{"S":"é\\n"}}]'),
        ([{"b": {"N": "-1.50"}, "a": {"S": "x"}}], '[{"a":{"S":"x"},"b":{"N":"-1.50"}}]'),
        ([{"raw": {"B": b"\x00\xff\x10"}}], '[{"raw":{"B":"AP8Q"}}]'),
        ([None, EXHAUSTED, {"id": {"S": "a"}}], '[null,true,{"id":{"S":"a"}}]'),
    ],
)
def test_the_encoding_of_cursors_is_unchanged(
    partition_cursors: list[PartitionCursor], encoded: str
) -> None:
    """Cursors are part of tokens, so replicas of two releases must agree on their bytes."""
    assert encode_cursor(partition_cursors).decode() == encoded
    assert decode_cursor(encoded.encode(), len(partition_cursors)) == partition_cursors


@pytest.mark.parametrize("partitions", [0, 1, 50])
def test_the_start_has_no_keys(partitions: int) -> None:
    """The start has no keys for any number of partitions."""
    assert decode_cursor(START, partitions) == [None] * partitions


def test_a_key_is_taken_from_an_item() -> None:
    """The cursor has the attributes of the path, in its order, and no other."""
    item = {"a": {"S": "x"}, "b": {"N": "1"}, "c": {"S": "y"}}
    assert key_of(item, ("c", "a")) == {"c": {"S": "y"}, "a": {"S": "x"}}


@given(st.lists(_keys, min_size=1, max_size=50))
def test_padding_is_undone(partition_cursors: list[PartitionCursor]) -> None:
    """A padded cursor decodes like the original, with or without removal of its padding."""
    cursor, count = encode_cursor(partition_cursors), len(partition_cursors)
    assert unpadded(padded(cursor, count)) == unpadded(cursor) == cursor
    assert decode_cursor(padded(cursor, count), count) == partition_cursors


@pytest.mark.parametrize(("partitions", "size"), [(1, 4_096), (2, 4_608), (50, 29_184)])
def test_padded_cursors_have_few_lengths(partitions: int, size: int) -> None:
    """The lengths are one that fits keys of usual length, and multiples of it."""
    for length in (1, 300, 450):
        cursor = encode_cursor([{"at": {"S": "x" * length}}] * partitions)
        assert len(padded(cursor, partitions)) == size
    longer = encode_cursor([{"at": {"S": "x" * (size + 1)}}] * partitions)
    assert len(padded(longer, partitions)) % size == 0
