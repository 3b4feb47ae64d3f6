"""Tests of Parquet: types of columns, values without a lost digit, and the missing library."""

from __future__ import annotations

import io
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from dynamodb_processor_client.exports.forms import convert
from dynamodb_processor_client.exports.parquet_form import Schema, load_pyarrow, write
from dynamodb_processor_client.exports.spool import SpoolError, frames, spooled
from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_client.values import Item, decode_item
from tests.support.fake_service import FakeService
from tests.unit.client.commands import Run, run_on_terminal
from tests.unit.client.exporting import varied


def converted(items: Sequence[Item], columns: list[str] | None = None) -> Any:
    """Return the table that Parquet holds for items."""
    spool, sink = io.BytesIO(), io.BytesIO()
    spool.write(frames(items))
    convert(spool, spool.tell(), sink, "parquet", columns, ("n",))
    return pyarrow.parquet.read_table(io.BytesIO(sink.getvalue()))


def column_of(values: Sequence[object]) -> tuple[str, list[object], str]:
    """Return the type, cells and encoding of a column; `...` is a missing value."""
    items = [{"n": Decimal(0)} | ({} if value is ... else {"v": value}) for value in values]
    table = converted(items)
    metadata = table.schema.field("v").metadata or {}
    encoding = metadata.get(b"ddbq.encoding", b"").decode()
    return str(table.schema.field("v").type), table.column("v").to_pylist(), encoding


@pytest.mark.parametrize(
    ("values", "kind", "cells", "encoding"),
    [
        (["a", "", ..., None], "string", ["a", "", None, None], ""),
        ([Decimal(1), Decimal(-(2**63)), ...], "int64", [1, -(2**63), None], ""),
        ([Decimal("1E+2"), Decimal("1.0")], "int64", [100, 1], ""),
        (
            [Decimal("1.5"), Decimal(-20), Decimal("1E+2")],
            "decimal128(4, 1)",
            [Decimal("1.5"), Decimal("-20.0"), Decimal("100.0")],
            "",
        ),
        ([Decimal(2**63)], "decimal128(19, 0)", [Decimal(2**63)], ""),
        (
            [Decimal("1." + "2" * 37), Decimal(9)],
            "decimal128(38, 37)",
            [Decimal("1." + "2" * 37), Decimal("9." + "0" * 37)],
            "",
        ),
        ([Decimal("0.001")], "decimal128(3, 3)", [Decimal("0.001")], ""),
        (
            [Decimal("1" + "0" * 125), Decimal("1E-130")],
            "string",
            ["1" + "0" * 125, "1E-130"],
            "number",
        ),
        ([b"\x00\xff", b""], "binary", [b"\x00\xff", b""], ""),
        ([True, False, ...], "bool", [True, False, None], ""),
        (
            [{"a", "b"}, [None, {"c": Decimal(1)}]],
            "string",
            ['["a", "b"]', '[null, {"c": 1}]'],
            "json",
        ),
        (["5", Decimal(5), None], "string", ['"5"', "5", None], "json"),
        ([None, ...], "string", [None, None], ""),
    ],
)
def test_the_type_of_a_column(
    values: Sequence[object], kind: str, cells: list[object], encoding: str
) -> None:
    """A column has the narrowest type that keeps every value and digit."""
    assert column_of(values) == (kind, cells, encoding)


def test_columns_and_their_order() -> None:
    """Leading columns come first, the others by name; chosen columns are those alone."""
    items: list[Item] = [{"b": "1", "n": Decimal(1)}, {"a": "2", "n": Decimal(2)}]
    assert converted(items).column_names == ["n", "a", "b"]
    chosen = converted(items, ["b", "missing"])
    assert chosen.to_pylist() == [{"b": "1", "missing": None}, {"b": None, "missing": None}]


def test_row_groups_are_bounded() -> None:
    """A row group ends at 64 MiB of items, so that the memory is bounded."""
    item: Item = {"n": Decimal(1)}
    schema, sink = Schema(), io.BytesIO()
    schema.add(item)
    arrow = load_pyarrow()
    sized = ((item, 30 * 2**20) for _ in range(7))
    write(arrow, sink, schema.columns(arrow, ["n"]), sized)
    assert pyarrow.parquet.ParquetFile(sink).num_row_groups == 3


@pytest.mark.parametrize("content", [b"\0\0", b"\0\0\0\x05abc", b"\0\0\0\x03\xff\xff\xff"])
def test_a_spool_of_something_else(content: bytes) -> None:
    """Bytes that are no items are an error, not a shorter file."""
    with pytest.raises(SpoolError):
        list(spooled(io.BytesIO(content), len(content)))


async def test_a_file(run: Run, service: FakeService, tmp_path: Path) -> None:
    """`ddbq` writes the items of a stream into a Parquet file, and into a pipe."""
    service.items = varied(1_300)
    path = tmp_path / "a.parquet"
    assert (await run("stream", "numbers", "--output", str(path))).status == 0
    table = pyarrow.parquet.read_table(path)
    items = [decode_item(item) for item in service.items]
    assert table.column("n").to_pylist() == list(range(1_300))
    assert table.column("price").to_pylist() == [item["price"] for item in items]
    assert table.column("bytes").to_pylist() == [item["bytes"] for item in items]
    assert table.column("text").to_pylist() == [item.get("text") for item in items]
    assert table.column("list").to_pylist() == [to_json(item["list"]) for item in items]
    assert table.column("a_late_one").null_count == 1_299


async def test_a_terminal_gets_no_parquet(
    environment: dict[str, str], service: FakeService
) -> None:
    """Binary output is refused on a terminal, before anything is read."""
    outcome = await run_on_terminal(environment, "query", "numbers", "-o", "parquet")
    assert outcome.status == 2
    assert "--output: Parquet is binary: write it into a file or a pipe" in outcome.output
    assert not service.requests


async def test_without_pyarrow(
    environment: dict[str, str], run: Run, service: FakeService, tmp_path: Path
) -> None:
    """Without pyarrow the error names the package to install; nothing is read or written."""
    (tmp_path / "pyarrow.py").write_text("raise ImportError('not here')\n")
    environment["PYTHONPATH"] = str(tmp_path)
    outcome = await run("stream", "numbers", "--output", str(tmp_path / "a.parquet"))
    assert outcome.status == 2
    assert "Parquet needs pyarrow: pip install 'dynamodb-processor[arrow]'" in outcome.errors
    assert not service.stream_requests
    assert not (tmp_path / "a.parquet.ddbq-part").exists()
