"""Tests results as data frames of pandas, polars and pyarrow."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

import grpc
import pandas
import polars
import pyarrow
import pytest

from dynamodb_processor.v1.value_pb2 import Item as ItemMessage
from dynamodb_processor_client import FrameError, Item, Query, QueryClient, Unavailable
from dynamodb_processor_client.frame_builder import FrameBuilder
from dynamodb_processor_client.values import encode
from tests.support.fake_service import Cut, Failure, FakeService

_LIBRARIES: Final = ("pyarrow", "polars", "pandas")
_TYPED: Final = ("pyarrow", "polars")
_HUGE: Final = Decimal(12345678901234567890123456789012345678)
_ITEMS: Final[Sequence[Item]] = (
    {
        "id": "a",
        "count": Decimal(1),
        "price": Decimal("0.1"),
        "data": b"\x00\xff",
        "flag": True,
        "nothing": None,
        "tags": {"y", "x"},
        "lines": [{"n": Decimal(1), "name": "p"}, {"n": Decimal("2.5")}],
        "map": {"x": {"y": [Decimal(7)]}},
    },
    {"id": "b", "count": Decimal(2**53 + 1), "price": Decimal("1E+2"), "lines": [], "map": {}},
    {"id": "", "late": b"", "price": Decimal("-12345678901234567890.12345678901234567")},
)


def frame(library: str, items: Sequence[Item], **options: Any) -> Any:
    """Return a frame of items."""
    given: dict[str, Any] = {"numbers": "exact", "as_json": (), "batch_size": 10_000} | options
    builder = FrameBuilder(library, **given)
    builder.add(items)
    return builder.finish()


def rows(result: Any) -> list[dict[str, Any]]:
    """Return the rows of a frame, with None for missing values."""
    if isinstance(result, pyarrow.Table):
        return list(result.to_pylist())
    if isinstance(result, polars.DataFrame):
        return list(result.to_dicts())
    return [
        {name: None if value is pandas.NA else value for name, value in row.items()}
        for row in result.to_dict("records")
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 10])
@pytest.mark.parametrize("library", _TYPED)
def test_every_type_becomes_a_typed_column(library: str, batch_size: int) -> None:
    """The values are equal to the last digit, whatever batch they came in; others are null."""
    result = rows(frame(library, _ITEMS, batch_size=batch_size))
    lines = [{"n": Decimal(1), "name": "p"}, {"n": Decimal("2.5"), "name": None}]
    nothing = dict.fromkeys(("data", "flag", "nothing", "tags", "late"))
    assert result == [
        dict(_ITEMS[0], tags=["x", "y"], lines=lines, map={"x": {"y": [7]}}, late=None),
        {**nothing, **_ITEMS[1], "map": {"x": None}},
        {**nothing, "count": None, "lines": None, "map": None, **_ITEMS[2]},
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_pandas_keeps_python_objects(batch_size: int) -> None:
    """Integers, Booleans and strings have types with a missing value; others are as in an item."""
    result = frame("pandas", _ITEMS, batch_size=batch_size)
    kinds = {name: str(kind) for name, kind in result.dtypes.items()}
    assert kinds["id"].startswith("str")
    assert (kinds["count"], kinds["flag"], kinds["price"]) == ("Int64", "boolean", "object")
    names = list(dict.fromkeys(name for item in _ITEMS for name in item))
    assert rows(result) == [dict.fromkeys(names) | item for item in _ITEMS]
    assert list(result.index) == [0, 1, 2]


def test_arrow_has_the_narrowest_exact_types() -> None:
    """Whole numbers are 64-bit integers, others decimals with the digits that the column needs."""
    schema = frame("pyarrow", _ITEMS).schema
    assert schema.field("count").type == pyarrow.int64()
    assert schema.field("price").type == pyarrow.decimal128(38, 17)
    assert schema.field("data").type == pyarrow.binary()
    assert schema.field("nothing").type == pyarrow.null()
    wide = frame("pyarrow", [{"n": _HUGE}, {"n": Decimal("1E-30")}])
    assert wide.schema.field("n").type == pyarrow.decimal256(76, 30)
    assert wide.column("n").to_pylist() == [_HUGE, Decimal("1E-30")]


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63), 0, 10**18])
@pytest.mark.parametrize("library", _LIBRARIES)
def test_integers_of_64_bits_stay_integers(library: str, value: int) -> None:
    """Each end of the range is exact."""
    (row,) = rows(frame(library, [{"n": Decimal(value)}]))
    assert (row["n"], type(row["n"])) == (value, int)


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("library", _LIBRARIES)
def test_larger_integers_become_decimals(library: str, batch_size: int) -> None:
    """A later number that needs a decimal changes the column, and no earlier number."""
    items = [{"n": Decimal(5)}, {"n": Decimal(2**63)}, {"n": _HUGE}]
    found = [row["n"] for row in rows(frame(library, items, batch_size=batch_size))]
    assert found == [5, 2**63, _HUGE]
    assert {type(value) for value in found} == {Decimal}


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("library", _LIBRARIES)
def test_floats_are_a_choice(library: str, batch_size: int) -> None:
    """With `float64` every number of a column is the nearest double, and missing ones are null."""
    items = [{"n": Decimal("0.1")}, {}, {"n": Decimal(2**53 + 1)}, {"n": Decimal("1E+125")}]
    result = frame(library, items, numbers="float64", batch_size=batch_size)
    assert [row["n"] for row in rows(result)] == [0.1, None, float(2**53), 1e125]


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("library", _TYPED)
@pytest.mark.parametrize(
    ("values", "path", "reason"),
    [
        (["a", Decimal(1)], "x", "numbers and strings"),
        ([True, Decimal(1)], "x", "Booleans and numbers"),
        ([b"a", {"k": "v"}], "x", "binary values and maps"),
        ([{"k": ["a"]}, {"k": [Decimal(1)]}], "x.k[]", "numbers and strings"),
        ([["a", None, b"b"]], "x[]", "binary values and strings"),
    ],
    ids=str,
)
def test_mixed_types_are_named(
    library: str, batch_size: int, values: list[Any], path: str, reason: str
) -> None:
    """The error has the path and the types, and says how to go on."""
    with pytest.raises(FrameError, match="Leave it out by projection, or name it in") as caught:
        frame(library, [{"x": value} for value in values], batch_size=batch_size)
    assert caught.value.attribute == path
    assert reason in caught.value.reason


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_pandas_has_columns_of_mixed_types(batch_size: int) -> None:
    """Each value is the one of the item, a whole number too."""
    values: list[Any] = [Decimal(1), "a", None, Decimal("0.5"), True, b"x", {"k": "v"}]
    found = list(frame("pandas", [{"x": one} for one in values], batch_size=batch_size)["x"])
    assert found == values
    assert [type(one) for one in found] == [type(one) for one in values]


@pytest.mark.parametrize("batch_size", [1, 2, 10])
def test_mixed_columns_have_floats_on_request(batch_size: int) -> None:
    """Every number of the column is a float, in each batch."""
    items: list[Item] = [{"x": Decimal("0.1")}, {"x": "a"}, {"x": Decimal(2)}]
    found = list(frame("pandas", items, numbers="float64", batch_size=batch_size)["x"])
    assert found == [0.1, "a", 2.0]
    assert [type(one) for one in found] == [float, str, float]


@pytest.mark.parametrize(
    ("library", "digits"), [("pyarrow", 76), ("polars", 38)], ids=["pyarrow", "polars"]
)
def test_numbers_too_far_apart_are_named(library: str, digits: int) -> None:
    """A column that no type of the library can hold is an error, not a rounding."""
    items = [{"n": Decimal("1E+125")}, {"n": Decimal("1E-130")}]
    with pytest.raises(FrameError, match=f"numbers need 256 digits, and a column .* has {digits}"):
        frame(library, items)
    assert len(rows(frame(library, items, numbers="float64"))) == 2


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("library", _LIBRARIES)
def test_json_holds_every_value(library: str, batch_size: int) -> None:
    """Attributes that are named become JSON with DynamoDB's types; absent ones stay null."""
    values: list[Any] = [
        *("ü", Decimal("1E+125"), b"\xff", True, None, {"b", "a"}, {Decimal(2), Decimal(1)}),
        *({b"\x00"}, [Decimal("0.10")], {"k": [None]}),
    ]
    items = [*({"x": value} for value in values), {}]
    result = frame(library, items, as_json=["x"], batch_size=batch_size)
    found = [row["x"] for row in rows(result)]
    assert [None if one is None else json.loads(one) for one in found] == [
        {"S": "ü"},
        {"N": "1E+125"},
        {"B": "/w=="},
        {"BOOL": True},
        {"NULL": True},
        {"SS": ["a", "b"]},
        {"NS": ["1", "2"]},
        {"BS": ["AA=="]},
        {"L": [{"N": "0.10"}]},
        {"M": {"k": {"L": [{"NULL": True}]}}},
        None,
    ]
    assert "ü" in found[0]


@pytest.mark.parametrize("library", _LIBRARIES)
def test_frames_without_values(library: str) -> None:
    """No items, items without attributes and columns of nulls are frames as well."""
    assert frame(library, []).shape == (0, 0)
    # A frame of polars without columns has no rows either.
    assert frame(library, [{}, {}]).shape == (0 if library == "polars" else 2, 0)
    assert rows(frame(library, [{"a": None}, {"a": None}])) == [{"a": None}] * 2


def test_a_batch_is_the_most_that_waits() -> None:
    """Items become columns batch by batch, and no item is kept beside them."""
    builder = FrameBuilder("pyarrow", "exact", (), 100)
    waiting = 0
    for number in range(1_000):
        builder.add([{"n": Decimal(number)}])
        waiting = max(waiting, len(builder._batch))
    assert waiting == 99
    assert builder.finish().column("n").num_chunks == 10


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"numbers": "double"}, ValueError, 'numbers is "exact" or "float64", not'),
        ({"batch_size": 0}, ValueError, "batch_size is 1 or more"),
        ({"batch_size": "1"}, TypeError, "batch_size"),
        ({"as_json": "x"}, TypeError, "json takes a list"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], error: type, text: str) -> None:
    """They are refused before anything is read."""
    with pytest.raises(error, match=text):
        frame("pandas", [], **options)


def _message(item: Item) -> ItemMessage:
    return ItemMessage(attributes={name: encode(value) for name, value in item.items()})


async def test_streams_and_pages_become_frames(client: QueryClient, service: FakeService) -> None:
    """Every iterator has the three methods, and so has a page."""
    service.items = [_message(item) for item in _ITEMS]
    query = Query("numbers")
    tables = [
        await client.stream(query, page_size=2).to_arrow(),
        await client.pages(query, page_size=2).to_arrow(batch_size=1),
        (await client.query(query)).to_arrow(),
    ]
    assert [rows(table) for table in tables] == [rows(frame("pyarrow", _ITEMS))] * 3
    page = await client.query(query)
    for made in (await client.stream(query).to_pandas(json=["lines"]), page.to_pandas()):
        assert list(made["id"]) == ["a", "b", ""]
    for other in (await client.pages(query).to_polars(numbers="float64"), page.to_polars()):
        assert other["id"].to_list() == ["a", "b", ""]


async def test_a_frame_has_the_items_that_are_left(client: QueryClient) -> None:
    """Items that were iterated before are not in it; it spans the pages that follow."""
    stream = client.stream(Query("numbers"), page_size=100)
    assert (await anext(stream))["n"] == 0
    table = await stream.to_arrow(batch_size=64)
    assert table.column("n").to_pylist() == list(range(1, 1_000))
    assert stream.resume_token == ""


async def test_a_broken_stream_resumes_into_one_frame(
    client: QueryClient, service: FakeService
) -> None:
    """A break that can be resumed leaves no trace; another one is the stream's error."""
    service.cuts.append(Cut(2, Failure(grpc.StatusCode.UNAVAILABLE)))
    table = await client.stream(Query("numbers"), page_size=100).to_arrow()
    assert table.column("n").to_pylist() == list(range(1_000))
    service.cuts.extend([Cut(1, Failure(grpc.StatusCode.UNAVAILABLE))] + [Cut(0, None)] * 20)
    with pytest.raises(Unavailable):
        await client.stream(Query("numbers"), page_size=100).to_polars()


def test_a_missing_library_is_named_with_its_extra() -> None:
    """The client itself imports none of them."""
    code = (
        "import sys\n"
        "for name in ('pandas', 'polars', 'pyarrow'): sys.modules[name] = None\n"
        "from dynamodb_processor_client import Page, QueryClient, ItemStream\n"
        "from dynamodb_processor_client.frame_builder import library\n"
        "for name in ('pandas', 'polars', 'pyarrow'):\n"
        "    try: library(name)\n"
        "    except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.partition(" (")[0] for line in lines] == [
        "pandas is needed for this: pip install 'dynamodb-processor[pandas]'",
        "polars is needed for this: pip install 'dynamodb-processor[polars]'",
        "pyarrow is needed for this: pip install 'dynamodb-processor[arrow]'",
    ]
