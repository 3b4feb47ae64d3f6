"""Columns of pandas.

Decimals, binary values, sets, lists, maps and mixed values stay Python objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import pandas

from dynamodb_processor_client.column_types import Kind

# Types of pandas that have a missing value of their own.
_TYPES: Final = {"bool": "boolean", "int": "Int64", "float": "Float64", "string": "string"}


class _PandasColumns:
    mixes = True

    def make(self, values: Sequence[Any], kind: Kind, name: str) -> Any:
        match kind.name:
            case "int":
                values = [None if value is None else int(value) for value in values]
            case "float":
                values = [None if value is None else float(value) for value in values]
            case "decimal" | "mixed":
                # Integers come from an earlier part of the column.
                values = [Decimal(value) if type(value) is int else value for value in values]
        return pandas.Series(values, dtype=_TYPES.get(kind.name, "object"))

    def values(self, part: Any) -> list[Any]:
        return [None if value is pandas.NA else value for value in part.tolist()]

    def frame(self, columns: Mapping[str, list[Any]], rows: int) -> Any:
        joined = {
            name: pandas.concat(parts, ignore_index=True) if len(parts) > 1 else parts[0]
            for name, parts in columns.items()
        }
        return pandas.DataFrame(joined, index=pandas.RangeIndex(rows))


COLUMNS: Final = _PandasColumns()
