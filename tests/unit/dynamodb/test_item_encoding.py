"""Encoded items have the same bytes as messages built from constructors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynamodb_processor.v1.query_service_pb2 import QueryResponse, StreamQueryResponse
from dynamodb_processor.v1.value_pb2 import (
    AttributeValue,
    BinarySet,
    Item,
    ListValue,
    MapValue,
    NumberSet,
    StringSet,
)
from dynamodb_processor_server.dynamodb.item_encoding import encode_item
from tests.support.messages import from_item
from tests.unit.query.expression.wire_values import wire_values

VALUES: list[tuple[dict[str, Any], AttributeValue]] = [
    ({"S": "größe"}, AttributeValue(s="größe")),
    ({"S": ""}, AttributeValue(s="")),
    ({"N": "-1.50"}, AttributeValue(n="-1.50")),
    ({"N": "1" * 38}, AttributeValue(n="1" * 38)),
    ({"B": b"\x00\xff"}, AttributeValue(b=b"\x00\xff")),
    ({"B": bytearray(b"")}, AttributeValue(b=b"")),
    ({"BOOL": True}, AttributeValue(bool=True)),
    ({"BOOL": False}, AttributeValue(bool=False)),
    ({"NULL": True}, AttributeValue(null=True)),
    ({"SS": ["b", "a"]}, AttributeValue(ss=StringSet(values=["b", "a"]))),
    ({"NS": ["1", "2.5"]}, AttributeValue(ns=NumberSet(values=["1", "2.5"]))),
    ({"BS": [b"x", bytearray(b"")]}, AttributeValue(bs=BinarySet(values=[b"x", b""]))),
    ({"L": []}, AttributeValue(l=ListValue())),
    (
        {"L": [{"S": "x"}, {"L": [{"M": {}}]}]},
        AttributeValue(
            l=ListValue(
                values=[
                    AttributeValue(s="x"),
                    AttributeValue(l=ListValue(values=[AttributeValue(m=MapValue())])),
                ]
            )
        ),
    ),
    ({"M": {}}, AttributeValue(m=MapValue())),
    (
        {"M": {"k": {"M": {"": {"NULL": True}}}}},
        AttributeValue(
            m=MapValue(
                fields={"k": AttributeValue(m=MapValue(fields={"": AttributeValue(null=True)}))}
            )
        ),
    ),
]


@pytest.mark.parametrize(("wire", "message"), VALUES, ids=lambda value: str(value)[:30])
def test_each_type_is_what_its_constructor_gives(
    wire: dict[str, Any], message: AttributeValue
) -> None:
    """All ten types, empty and nested ones included."""
    expected = QueryResponse(items=[Item(attributes={"a": message})])
    assert encode_item({"a": wire}) == expected.SerializeToString()


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.text(), wire_values, max_size=3), max_size=3))
def test_encoded_items_concatenate_to_a_page(items: list[dict[str, dict[str, Any]]]) -> None:
    """Bytes put one after another are the repeated field of either response."""
    data = b"".join(map(encode_item, items))
    for response in (QueryResponse.FromString(data), StreamQueryResponse.FromString(data)):
        assert [from_item(item) for item in response.items] == items


@pytest.mark.parametrize("length", [0, 100, 120, 130, 16_370, 16_390, 400_000])
def test_lengths_of_every_width_are_right(length: int) -> None:
    """The sizes are around each length that takes one byte more."""
    item = {"a": {"S": "x" * length}}
    (decoded,) = QueryResponse.FromString(encode_item(item)).items
    assert from_item(decoded) == item
