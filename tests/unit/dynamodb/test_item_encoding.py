"""Encoded items have the bytes that Google's library gives."""

from __future__ import annotations

import tracemalloc
from typing import Any, Final

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
from dynamodb_processor_server.dynamodb.item_encoding import encode_item, encode_items
from tests.support.messages import from_item, to_value
from tests.support.wire_format import oddities
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


_LONG_NUMBERS: Final = st.sampled_from(
    ["9" * 126, "-" + "1" * 38 + "0" * 88, "0." + "0" * 129 + "1"]
)
_DEEP: Final = st.builds(
    lambda kinds, value: nested(kinds, value), st.text("LM", max_size=31), wire_values
)
_VALUES: Final = wire_values | _DEEP | _LONG_NUMBERS.map(lambda number: {"N": number})


def nested(kinds: str, value: dict[str, Any]) -> dict[str, Any]:
    """Return a value within a list for each L, and a map for each M."""
    for kind in kinds:
        value = {"L": [value]} if kind == "L" else {"M": {"k": value}}
    return value


def in_order(members: dict[str, Any]) -> dict[str, Any]:
    """Return an item whose names, at any depth, are in the order of their UTF-8 bytes."""

    def value_in_order(value: dict[str, Any]) -> dict[str, Any]:
        if "M" in value:
            return {"M": in_order(value["M"])}
        return {"L": list(map(value_in_order, value["L"]))} if "L" in value else value

    # Of two names of which one begins with the other, Google's library writes the longer first.
    names = sorted(members, key=lambda name: name.encode() + b"\xff")
    return {name: value_in_order(members[name]) for name in names}


def by_google(item: dict[str, Any]) -> bytes:
    """Return a page of one item as Google's library encodes it, with names in order."""
    attributes = {name: to_value(value) for name, value in item.items()}
    page = QueryResponse(items=[Item(attributes=attributes)])
    return page.SerializeToString(deterministic=True)


@settings(max_examples=200)
@given(st.dictionaries(st.text(), _VALUES, max_size=5))
def test_bytes_are_those_of_googles_library(item: dict[str, Any]) -> None:
    """An item has the same bytes, and with its names in another order as many, none of them odd."""
    assert encode_item(in_order(item)) == by_google(item)
    data = encode_item(item)
    assert len(data) == len(by_google(item))
    assert oddities(data, QueryResponse.DESCRIPTOR) == []


_KEYS: Final = st.sets(st.text(), min_size=1, max_size=4)
_OF_ONE_TYPE: Final = {
    "S": st.text(),
    "N": st.integers().map(str),
    "B": st.binary(),
    "BOOL": st.booleans(),
    "NULL": st.just(True),
    "SS": st.lists(st.text(), min_size=1, max_size=3),
    "NS": st.lists(st.integers().map(str), min_size=1, max_size=3),
    "BS": st.lists(st.binary(), min_size=1, max_size=3),
    "L": st.lists(wire_values, max_size=2),
    "M": st.dictionaries(st.text(), wire_values, max_size=2),
}


@st.composite
def _similar_items(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Return items with the same attributes, and perhaps one that differs."""
    types = {name: draw(st.sampled_from(sorted(_OF_ONE_TYPE))) for name in draw(_KEYS)}
    items = [
        in_order({name: {kind: draw(_OF_ONE_TYPE[kind])} for name, kind in types.items()})
        for _ in range(draw(st.integers(1, 8)))
    ]
    if draw(st.booleans()):
        other = draw(st.dictionaries(st.text() | st.sampled_from(sorted(types)), wire_values))
        items[draw(st.integers(0, len(items) - 1))] = in_order(other)
    return items


@given(_similar_items())
def test_items_encoded_together_are_as_each_alone(items: list[dict[str, Any]]) -> None:
    """Whether they have the same attributes and types makes no difference."""
    assert encode_items(items) == b"".join(map(by_google, items))


@pytest.mark.parametrize("kind", ["L", "M"])
def test_items_as_deep_as_dynamodb_allows_can_be_decoded(kind: str) -> None:
    """Google's parsers accept 100 messages within each other; a map of 32 levels has 98."""
    item = {"a": nested(kind * 32, {"NULL": True})}
    (decoded,) = QueryResponse.FromString(encode_item(item)).items
    assert from_item(decoded) == item


def test_text_that_is_no_unicode_is_sent_as_bytes() -> None:
    """Half of a surrogate pair is no character; the other items of the page stay as they are."""
    half = "a\ud83d"
    items: list[dict[str, Any]] = [{"t": {"S": text}} for text in ("a", half, "b", "c", "d")]
    items.append({half: {"M": {half: {"L": [{"SS": [half, "x"]}]}}}})
    data = encode_items(items)
    decoded = [from_item(item) for item in QueryResponse.FromString(data).items]
    raw = half.encode("utf-8", "surrogatepass")
    assert decoded[1] == {"t": {"B": raw}}
    assert [decoded[0], *decoded[2:5]] == [items[0], *items[2:5]]
    written = r"a\ud83d"
    assert decoded[5] == {written: {"M": {written: {"L": [{"BS": [raw, b"x"]}]}}}}


def test_a_type_that_the_contract_lacks_is_a_value_without_a_type() -> None:
    """Clients see that there is an attribute, also in a list."""
    (item,) = QueryResponse.FromString(encode_item({"a": {"V": "x"}, "b": {"L": [{"V": 1}]}})).items
    assert item.attributes["a"].WhichOneof("value") is None
    assert [value.WhichOneof("value") for value in item.attributes["b"].l.values] == [None]


@pytest.mark.parametrize("alike", [1, 4], ids=["alone", "together"])
def test_names_are_remembered_within_a_bound(alike: int) -> None:
    """Maps may have any number of names; the encoder keeps some megabytes of them, and forgets."""
    items = ({f"{number:0200}": {"S": "x" * (number % 50)}} for number in range(30_000))
    tracemalloc.start()
    try:
        for item in items:
            encode_items([item] * alike)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 8_000_000
    assert encode_item({"a": {"S": "x"}}) == by_google({"a": {"S": "x"}})
