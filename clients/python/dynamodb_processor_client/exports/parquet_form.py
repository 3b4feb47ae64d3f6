"""Items as Parquet, written by pyarrow, an optional library that is imported when it is needed.

DynamoDB's items have no schema, so the types of the columns come from all the items:

| values of an attribute | type of the column |
|---|---|
| text | string |
| numbers: whole ones in 64 bits | int64 |
| numbers: others, 38 digits together | decimal128 |
| numbers: others | string, with every digit |
| binary | binary |
| true, false | bool |
| lists, maps, sets, and values of several types | string with JSON |

A missing attribute and a null are both null. The metadata of a field has its encoding in
`ddbq.encoding`: `json` or `number` for a string that is not the value itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Any, BinaryIO, Final

from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_client.values import Item

_ROWS: Final = 20_000  # in a row group
_ROW_GROUP_BYTES: Final = 64 * 2**20  # of the items' messages
_MAX_DIGITS: Final = 38
_INT64: Final = 2**63
# DynamoDB writes 1E125 out, with 126 digits.
_EXACT: Final = Context(prec=200)


class ParquetUnavailable(Exception):
    """pyarrow is not installed."""


def load_pyarrow() -> Any:
    """Return pyarrow.

    Raises:
        ParquetUnavailable: It is not installed.
    """
    try:
        importlib.import_module("pyarrow.parquet")
        return importlib.import_module("pyarrow")
    except ImportError as error:
        raise ParquetUnavailable(
            f"Parquet needs pyarrow: pip install 'dynamodb-processor[arrow]' ({error})"
        ) from None


@dataclass(slots=True)
class _Values:
    """The kinds of an attribute's values, and the digits of its numbers."""

    kinds: set[str]
    whole_digits: int = 0
    decimals: int = 0
    is_int64: bool = True

    def add(self, value: object) -> None:
        kind = _kind(value)
        self.kinds.add(kind)
        if isinstance(value, Decimal):
            _, digits, exponent = value.normalize(_EXACT).as_tuple()
            assert isinstance(exponent, int)  # DynamoDB has no infinite numbers
            self.whole_digits = max(self.whole_digits, len(digits) + exponent)
            self.decimals = max(self.decimals, -exponent)
            self.is_int64 &= exponent >= 0 and -_INT64 <= value < _INT64


class Schema:
    """The types of columns, from all items that they will hold."""

    def __init__(self) -> None:
        """Begin without a column."""
        self._values: dict[str, _Values] = {}

    def add(self, item: Item) -> None:
        """Look at an item's values."""
        for name, value in item.items():
            values = self._values.get(name)
            if values is None:
                values = self._values[name] = _Values(set())
            if value is not None:
                values.add(value)

    def columns(self, arrow: Any, names: Sequence[str]) -> list[Column]:
        """Return the columns of these names."""
        return [_column(arrow, name, self._values.get(name, _Values(set()))) for name in names]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its field in the schema, and the function that makes its cells."""

    name: str
    field: Any
    cell: Callable[[Any], object]


def write(
    arrow: Any, sink: BinaryIO, columns: Sequence[Column], items: Iterable[tuple[Item, int]]
) -> None:
    """Write items, each given with its size in bytes, in row groups of a bounded size."""
    schema = arrow.schema([column.field for column in columns])
    with arrow.parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for rows in _row_groups(items):
            arrays = [
                arrow.array(
                    [
                        None if (value := row.get(column.name)) is None else column.cell(value)
                        for row in rows
                    ],
                    type=column.field.type,
                )
                for column in columns
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _row_groups(items: Iterable[tuple[Item, int]]) -> Iterator[list[Item]]:
    rows: list[Item] = []
    size = 0
    for item, its_size in items:
        rows.append(item)
        size += its_size
        if len(rows) == _ROWS or size >= _ROW_GROUP_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _column(arrow: Any, name: str, values: _Values) -> Column:
    def column(kind: Any, cell: Callable[[Any], object] = _same, encoding: str = "") -> Column:
        metadata = {"ddbq.encoding": encoding} if encoding else None
        return Column(name, arrow.field(name, kind, metadata=metadata), cell)

    if len(values.kinds) != 1:
        # Nulls alone have no type; several types have JSON in common.
        return column(arrow.string(), to_json, "json" if values.kinds else "")
    match next(iter(values.kinds)):
        case "text":
            return column(arrow.string())
        case "binary":
            return column(arrow.binary())
        case "bool":
            return column(arrow.bool_())
        case "number" if values.is_int64:
            return column(arrow.int64(), int)
        case "number" if max(values.whole_digits, 0) + values.decimals <= _MAX_DIGITS:
            digits = max(values.whole_digits, 0) + values.decimals
            return column(arrow.decimal128(max(digits, 1), values.decimals))
        case "number":
            return column(arrow.string(), to_json, "number")
        case _:
            return column(arrow.string(), to_json, "json")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case str():
            return "text"
        case Decimal():
            return "number"
        case bytes():
            return "binary"
        case _:
            return "json"


def _same(value: object) -> object:
    return value
