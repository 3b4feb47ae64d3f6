"""Columns of pyarrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow

from dynamodb_processor_client.column_types import FrameError, Kind

_MAX_DIGITS: Final = 76


class _ArrowColumns:
    mixes = False

    def make(self, values: Sequence[Any], kind: Kind, name: str) -> Any:
        return pyarrow.array(values, type=_type(kind, name))

    def values(self, part: Any) -> list[Any]:
        return list(part.to_pylist())

    def frame(self, columns: Mapping[str, list[Any]], rows: int) -> Any:
        chunked = {name: pyarrow.chunked_array(parts) for name, parts in columns.items()}
        if not chunked:
            # A table without columns has no other way to know its rows.
            return pyarrow.table({"": pyarrow.nulls(rows)}).select([])
        return pyarrow.table(chunked)


COLUMNS: Final = _ArrowColumns()


def _type(kind: Kind, path: str) -> Any:
    match kind.name:
        case "list":
            assert kind.member is not None
            return pyarrow.list_(_type(kind.member, f"{path}[]"))
        case "struct":
            return pyarrow.struct(
                [(name, _type(one, f"{path}.{name}")) for name, one in kind.fields.items()]
            )
        case "decimal":
            return _decimal(kind, path)
    return _SCALARS[kind.name]


def _decimal(kind: Kind, path: str) -> Any:
    digits = kind.whole + kind.scale
    if digits > _MAX_DIGITS:
        raise FrameError(
            path, f"its numbers need {digits} digits, and a column of Arrow has {_MAX_DIGITS}"
        )
    if digits > 38:
        return pyarrow.decimal256(_MAX_DIGITS, kind.scale)
    return pyarrow.decimal128(38, kind.scale)


_SCALARS: Final = {
    "null": pyarrow.null(),
    "bool": pyarrow.bool_(),
    "int": pyarrow.int64(),
    "float": pyarrow.float64(),
    "string": pyarrow.string(),
    "binary": pyarrow.binary(),
}
