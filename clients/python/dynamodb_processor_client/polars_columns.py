"""Columns of polars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars

from dynamodb_processor_client.column_types import FrameError, Kind

_MAX_DIGITS: Final = 38


class _PolarsColumns:
    mixes = False

    def make(self, values: Sequence[Any], kind: Kind, name: str) -> Any:
        return polars.Series(name, values, dtype=_type(kind, name))

    def values(self, part: Any) -> list[Any]:
        return list(part.to_list())

    def frame(self, columns: Mapping[str, list[Any]], rows: int) -> Any:
        return polars.DataFrame([polars.concat(parts, rechunk=True) for parts in columns.values()])


COLUMNS: Final = _PolarsColumns()


def _type(kind: Kind, path: str) -> Any:
    match kind.name:
        case "list":
            assert kind.member is not None
            return polars.List(_type(kind.member, f"{path}[]"))
        case "struct":
            return polars.Struct(
                {name: _type(one, f"{path}.{name}") for name, one in kind.fields.items()}
            )
        case "decimal":
            digits = kind.whole + kind.scale
            if digits > _MAX_DIGITS:
                raise FrameError(
                    path,
                    f"its numbers need {digits} digits, and a column of polars has {_MAX_DIGITS}",
                )
            return polars.Decimal(_MAX_DIGITS, kind.scale)
    return _SCALARS[kind.name]


_SCALARS: Final[Mapping[str, Any]] = {
    "null": polars.Null,
    "bool": polars.Boolean,
    "int": polars.Int64,
    "float": polars.Float64,
    "string": polars.String,
    "binary": polars.Binary,
}
