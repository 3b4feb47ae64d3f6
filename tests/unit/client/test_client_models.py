"""Tests items as dataclasses and pydantic models."""

from __future__ import annotations

import copy
import dataclasses
import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

import grpc
import pydantic
import pytest

from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import ItemMismatch, Query, QueryClient, as_model
from tests.support.fake_service import Failure, FakeService


class Color(enum.Enum):
    """An enumeration of strings."""

    RED = "red"
    BLUE = "blue"


@dataclass
class Leg:
    """A nested record."""

    origin: str
    distance: int


@dataclass
class Flight:
    """A record with a field of each type."""

    number: int
    carrier: str
    price: Decimal
    delay: float
    departs: datetime
    day: date
    code: bytes
    canceled: bool
    color: Color
    kind: Literal["cargo", True, 1, 7]
    legs: list[Leg]
    tags: set[str]
    ranks: frozenset[int]
    pair: tuple[int, ...]
    seats: dict[str, int]
    notes: Sequence[str | int]
    extra: Any
    gate: str | None
    meal: str = "none"
    attributes: Mapping[str, bytes] = field(default_factory=dict)
    other_name: str = field(default="", metadata={"attribute": "other-name"})


def flight(**changes: Any) -> dict[str, Any]:
    """Return an item that fits, apart from the changes."""
    return {
        "number": Decimal(7),
        "carrier": "UA",
        "price": Decimal("12345678901234567890.123456789012345678"),
        "delay": Decimal("1.5"),
        "departs": "2026-01-31T08:30:00Z",
        "day": "2026-01-31",
        "code": b"\x00\xff",
        "canceled": False,
        "color": "blue",
        "kind": Decimal(7),
        "legs": [{"origin": "EWR", "distance": Decimal("1E+2"), "unused": None}],
        "tags": {"a", "b"},
        "ranks": {Decimal(1)},
        "pair": [Decimal(1), Decimal(2)],
        "seats": {"f": Decimal(8)},
        "notes": ["a", Decimal(1)],
        "extra": [None],
        "other-name": "x",
        "unknown": "ignored",
    } | changes


def test_an_item_becomes_a_dataclass() -> None:
    """Every type is converted without loss; absent attributes are the default, or None."""
    assert as_model(flight(), Flight) == Flight(
        number=7,
        carrier="UA",
        price=Decimal("12345678901234567890.123456789012345678"),
        delay=1.5,
        departs=datetime(2026, 1, 31, 8, 30, tzinfo=UTC),
        day=date(2026, 1, 31),
        code=b"\x00\xff",
        canceled=False,
        color=Color.BLUE,
        kind=7,
        legs=[Leg("EWR", 100)],
        tags={"a", "b"},
        ranks=frozenset({1}),
        pair=(1, 2),
        seats={"f": 8},
        notes=["a", 1],
        extra=[None],
        gate=None,
        other_name="x",
    )
    assert as_model(flight(gate=None), Flight).gate is None
    assert as_model(flight(kind=True), Flight).kind is True
    assert as_model(flight(kind=Decimal(1)), Flight).kind == 1
    assert as_model(flight(gate="7b"), Flight).gate == "7b"


@pytest.mark.parametrize(
    ("changes", "field", "reason"),
    [
        ({"number": Decimal("1.5")}, "number", "1.5 is no whole number"),
        ({"number": "7"}, "number", "a number is expected, not a string"),
        ({"number": True}, "number", "a number is expected, not a Boolean"),
        ({"carrier": Decimal(1)}, "carrier", "a string is expected, not a number"),
        ({"carrier": None}, "carrier", "a string is expected, not null"),
        ({"code": "text"}, "code", "binary is expected, not a string"),
        ({"canceled": Decimal(0)}, "canceled", "a Boolean is expected, not a number"),
        ({"price": "1.5"}, "price", "a number is expected, not a string"),
        ({"delay": {}}, "delay", "a number is expected, not a map"),
        ({"departs": "2026-01-31"}, "departs", "'2026-01-31' has no time zone"),
        ({"departs": "soon"}, "departs", "'soon' is no time in the form of RFC 3339"),
        (
            {"departs": "2026-01-31T08:30:00.1234567Z"},
            "departs",
            "'2026-01-31T08:30:00.1234567Z' has digits below a microsecond",
        ),
        ({"departs": Decimal(1)}, "departs", "a string is expected, not a number"),
        ({"day": "31.1.2026"}, "day", "'31.1.2026' is no date such as 2026-01-31"),
        ({"color": "green"}, "color", "'green' is none of 'red', 'blue'"),
        ({"kind": False}, "kind", "False is none of 'cargo', True, 1, 7"),
        ({"legs": {"a": []}}, "legs", "a list is expected, not a map"),
        ({"legs": ["x"]}, "legs[0]", "a map is expected, not a string"),
        ({"legs": [{"origin": "x"}]}, "legs[0].distance", "the item has no such attribute"),
        ({"tags": ["a"]}, "tags", "a set is expected, not a list"),
        ({"seats": {"f": "8"}}, "seats.f", "a number is expected, not a string"),
        ({"notes": [b""]}, "notes[0]", "binary fits none of str | int"),
        ({"gate": Decimal(1)}, "gate", "a string is expected, not a number"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_an_item_that_does_not_fit_is_named(
    changes: dict[str, Any], field: str, reason: str
) -> None:
    """The error has the key of the item, the path of the field, and the reason."""
    with pytest.raises(ItemMismatch) as caught:
        as_model(flight(**{"number": Decimal(7)} | changes), Flight, key=["carrier", "day"])
    assert (caught.value.field, caught.value.reason) == (field, reason)
    assert f"does not fit Flight: {field}: {reason}" in str(caught.value)
    assert set(caught.value.key) == {"carrier", "day"}


def test_a_missing_attribute_is_named() -> None:
    """A field without a default needs an attribute."""
    item = flight()
    del item["carrier"]
    with pytest.raises(ItemMismatch, match="an item does not fit Flight: carrier: the item has no"):
        as_model(item, Flight)


def test_a_mismatch_can_be_copied() -> None:
    """Programs with several processes pass it on."""
    error = ItemMismatch("Flight", {"id": Decimal(1)}, "price", "a reason")
    again = copy.copy(error)
    assert (str(again), again.key, again.field) == (str(error), error.key, error.field)


@dataclass
class Node:
    """A record that contains others of its type."""

    name: str
    children: list[Node] = field(default_factory=list)


def test_a_dataclass_may_contain_itself() -> None:
    """The depth of the item is that of the instances."""
    item = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}]}]}
    assert as_model(item, Node) == Node("a", [Node("b", [Node("c")])])
    with pytest.raises(ItemMismatch, match=r"children\[0\]\.name: a string is expected"):
        as_model({"name": "a", "children": [{"name": Decimal(1)}]}, Node)


@dataclass
class Checked:
    """A record with a rule of its own."""

    low: int
    high: int
    span: int = field(init=False)

    def __post_init__(self) -> None:
        """Check the rule."""
        if self.low > self.high:
            raise ValueError("low is above high")
        self.span = self.high - self.low


def test_a_rule_of_the_dataclass_is_a_reason() -> None:
    """Errors of its `__post_init__` are mismatches; fields that it computes take no attribute."""
    assert as_model({"low": Decimal(1), "high": Decimal(3), "span": "x"}, Checked).span == 2
    with pytest.raises(ItemMismatch, match="does not fit Checked: low is above high"):
        as_model({"low": Decimal(3), "high": Decimal(1)}, Checked)


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (complex, "no values of the type complex"),
        (list, "no values of the type list"),
        (dict[int, str], "names in a map are strings"),
        (tuple[int, str], "any length"),
        (list[complex], "no values of the type complex"),
    ],
    ids=str,
)
def test_a_type_that_items_cannot_have_is_refused(annotation: Any, text: str) -> None:
    """It is refused before any item is read, and the field is named."""
    model = dataclasses.make_dataclass("Odd", [("field", annotation)])
    with pytest.raises(TypeError, match=rf"^Odd\.field: .*{text}"):
        as_model({}, model)


@pytest.mark.parametrize("model", [dict, int, "Flight", None])
def test_another_type_is_no_model(model: Any) -> None:
    """A model is a dataclass or a pydantic model."""
    with pytest.raises(TypeError, match="a model is a dataclass or a pydantic model"):
        as_model({}, model)


class Booking(pydantic.BaseModel):
    """A pydantic model with a nested one and its own rules."""

    number: int
    price: Decimal
    at: datetime
    legs: list[Leg] = []
    name: str | None = None
    alias: str = pydantic.Field("", alias="other-name")


def test_an_item_becomes_a_pydantic_model() -> None:
    """The rules of pydantic apply, its aliases too."""
    item = {
        "number": Decimal(7),
        "price": Decimal("0.1"),
        "at": "2026-01-31T08:30:00Z",
        "legs": [{"origin": "EWR", "distance": Decimal(100)}],
        "other-name": "x",
    }
    booking = as_model(item, Booking)
    assert booking.legs == [Leg("EWR", 100)]
    assert (booking.price, booking.alias) == (Decimal("0.1"), "x")
    item["legs"] = [{"origin": "EWR", "distance": Decimal("1.5")}]
    with pytest.raises(ItemMismatch) as caught:
        as_model(item, Booking)
    assert caught.value.field == "legs[0].distance"
    assert "fractional" in caught.value.reason
    with pytest.raises(ItemMismatch, match="number: Field required, and 2 more"):
        as_model({}, Booking)


@dataclass
class Wrapped:
    """A dataclass with a pydantic model in it."""

    booking: Booking


def test_models_of_both_kinds_nest() -> None:
    """The path of the field goes through both."""
    with pytest.raises(ItemMismatch) as caught:
        as_model({"booking": {"number": "x", "price": Decimal(1), "at": "now"}}, Wrapped)
    assert caught.value.field == "booking.number"


@dataclass
class Numbered:
    """The fake service's item."""

    n: int
    text: str | None = None


async def test_a_stream_returns_models(client: QueryClient) -> None:
    """All items come in order, and the stream has the state of one of dictionaries."""
    stream = client.stream(Query("numbers"), as_=Numbered, total="exact")
    assert [item.n async for item in stream] == list(range(1_000))
    assert stream.resume_token == ""
    assert stream.stats.items_returned == 1_000
    assert stream.total is not None
    assert stream.total.value == 1_000


async def test_a_stream_goes_on_after_an_item_that_does_not_fit(
    client: QueryClient, service: FakeService
) -> None:
    """The error names the item by the table's key, which is read once."""
    wrong = Item(attributes={"n": AttributeValue(s="x"), "id": AttributeValue(s="i-1")})
    service.items = [*service.items[:2], wrong, *service.items[2:4], wrong]
    service.table.table.key.partition.add(name="id")
    stream = client.stream(Query("numbers"), as_=Numbered)
    found: list[Any] = []
    while len(found) < 6:
        try:
            found.append((await anext(stream)).n)
        except ItemMismatch as error:
            found.append(str(error))
    text = "the item {'id': 'i-1'} does not fit Numbered: n: a number is expected, not a string"
    assert found == [0, 1, text, 2, 3, text]
    assert len(service.metadata) == 2


@pytest.mark.parametrize("make_client", ["async"], indirect=True)  # it reaches into the stream
async def test_an_error_needs_no_description_of_the_table(
    client: QueryClient, service: FakeService
) -> None:
    """Without the key, the error still has the field and the reason."""
    service.items = [Item(attributes={"n": AttributeValue(s="x")})]
    stream = client.stream(Query("numbers"), as_=Numbered)
    page = stream._items._pages
    service.failures.clear()
    stream._items._items.extend((await anext(page)).items)
    service.failures.append(Failure(grpc.StatusCode.UNAVAILABLE))
    with pytest.raises(ItemMismatch, match="an item does not fit Numbered: n: a number"):
        await anext(stream)


async def test_a_stream_refuses_another_type_at_once(client: QueryClient) -> None:
    """Nothing is read for a type that is no model."""
    with pytest.raises(TypeError, match="a model is"):
        client.stream(Query("numbers"), as_=int)
    stream = client.stream(Query("numbers"), as_=Numbered)
    await stream.aclose()
    assert [item async for item in stream] == []
