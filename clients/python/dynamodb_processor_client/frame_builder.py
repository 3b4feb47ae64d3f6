"""Builds data frames from items, batch by batch.

Each batch becomes columns at once, so that no more than one batch of dictionaries is in memory
beside the columns.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol, cast

from dynamodb_processor_client import argument_checks as check
from dynamodb_processor_client.column_types import (
    MIXED,
    NULL,
    STRING,
    FrameError,
    Kind,
    Numbers,
    adapted,
    json_text,
    kind_of,
    merged,
)
from dynamodb_processor_client.values import Item

DEFAULT_BATCH: Final = 10_000
# The extra that installs each library.
_EXTRAS: Final = {"pyarrow": "arrow", "pandas": "pandas", "polars": "polars"}
_MODULES: Final = {
    "pyarrow": "dynamodb_processor_client.arrow_columns",
    "pandas": "dynamodb_processor_client.pandas_columns",
    "polars": "dynamodb_processor_client.polars_columns",
}


class Columns(Protocol):
    """One library's columns. `mixes` says whether a column may have values of several types."""

    mixes: bool

    def make(self, values: Sequence[Any], kind: Kind, name: str) -> Any:
        """Return a part of a column; raise `FrameError` if the library has no such type."""
        ...

    def values(self, part: Any) -> list[Any]:
        """Return the values of a part; None where there is none."""
        ...

    def frame(self, columns: Mapping[str, list[Any]], rows: int) -> Any:
        """Return a frame of columns, each in parts of the same type."""
        ...


def library(name: str) -> Columns:
    """Return the columns of pandas, polars or pyarrow.

    Raises:
        ImportError: The library is not installed.
    """
    try:
        importlib.import_module(name)
    except ImportError as error:
        command = f"pip install 'dynamodb-processor[{_EXTRAS[name]}]'"
        raise ImportError(f"{name} is needed for this: {command} ({error})") from error
    return cast(Columns, importlib.import_module(_MODULES[name]).COLUMNS)


@dataclass
class _Column:
    """A column so far: its type, and its parts with their rows; None for rows without a value."""

    kind: Kind = NULL
    parts: list[tuple[Any, Kind, int]] = field(default_factory=list)


class FrameBuilder:
    """Collects items, and returns them as one frame.

    Raises:
        TypeError: An argument has the wrong type.
        ValueError: `numbers` is neither `"exact"` nor `"float64"`, or `batch_size` is below 1.
        ImportError: The library is not installed.
    """

    def __init__(
        self, library_name: str, numbers: Numbers, as_json: Sequence[str], batch_size: int
    ) -> None:
        if numbers not in ("exact", "float64"):
            raise ValueError(f'numbers is "exact" or "float64", not {check.shown(numbers)}')
        if check.integer("batch_size", batch_size) < 1:
            raise ValueError(f"batch_size is 1 or more, not {batch_size}")
        self._numbers = numbers
        self._json = frozenset(check.paths("json", as_json))
        self._batch_size = batch_size
        self._library = library(library_name)
        self._columns: dict[str, _Column] = {}
        self._batch: list[Item] = []
        self._rows = 0

    def add(self, items: Iterable[Item]) -> None:
        """Add items.

        Raises:
            FrameError: The values of an attribute do not fit into one column.
        """
        for item in items:
            self._batch.append(item)
            if len(self._batch) >= self._batch_size:
                self._convert_batch()

    def finish(self) -> Any:
        """Return the frame of all items. Raise `FrameError` as `add` does."""
        self._convert_batch()
        columns = {name: self._finished(name, column) for name, column in self._columns.items()}
        return self._library.frame(columns, self._rows)

    def _convert_batch(self) -> None:
        batch, self._batch = self._batch, []
        if not batch:
            return
        for name in dict.fromkeys(name for item in batch for name in item):
            if name not in self._columns:
                self._columns[name] = _Column()
                self._add_absent(self._columns[name], self._rows)
        self._rows += len(batch)
        for name, column in self._columns.items():
            values = [item.get(name) for item in batch]
            if name in self._json:
                values = [json_text(item[name]) if name in item else None for item in batch]
            kind = self._kind(name, values)
            column.kind = self._merged(column.kind, kind, name)
            if kind is NULL:
                self._add_absent(column, len(batch))
            else:
                column.parts.append((self._make(name, values, kind), kind, len(batch)))

    def _add_absent(self, column: _Column, rows: int) -> None:
        if rows:
            column.parts.append((None, NULL, rows))

    def _kind(self, name: str, values: Sequence[Any]) -> Kind:
        if name in self._json:
            return STRING
        kind = NULL
        try:
            for value in values:
                if value is not None:
                    kind = self._merged(kind, kind_of(value, self._numbers, name), name)
        except FrameError:
            if not self._library.mixes:
                raise
            return MIXED
        return kind

    def _merged(self, one: Kind, other: Kind, name: str) -> Kind:
        if MIXED in (one, other):
            return MIXED
        try:
            return merged(one, other, name)
        except FrameError:
            if not self._library.mixes:
                raise
            return MIXED

    def _make(self, name: str, values: Sequence[Any], kind: Kind) -> Any:
        if not self._library.mixes:
            values = [adapted(value, kind) for value in values]
        elif kind is MIXED and self._numbers == "float64":
            # An earlier part of the column may have been rounded already.
            values = [float(one) if isinstance(one, Decimal) else one for one in values]
        return self._library.make(values, kind, name)

    def _finished(self, name: str, column: _Column) -> list[Any]:
        """Return the parts of a column, all of its type."""
        parts = []
        for part, kind, rows in column.parts:
            if kind is NULL:
                parts.append(self._library.make([None] * rows, column.kind, name))
            elif kind == column.kind:
                parts.append(part)
            else:
                parts.append(self._make(name, self._library.values(part), column.kind))
        return parts
