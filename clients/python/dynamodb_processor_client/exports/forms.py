"""Conversion of all items of a result into a form whose columns they decide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dynamodb_processor_client.destinations import Columns, Form
from dynamodb_processor_client.exports.parquet_form import Schema, load_pyarrow, write
from dynamodb_processor_client.exports.spool import columns_of, spooled
from dynamodb_processor_client.exports.text_forms import Csv
from dynamodb_processor_client.values import Item

_ITEMS_AT_ONCE = 1_000


def convert(
    spool: BinaryIO, size: int, sink: BinaryIO, form: Form, columns: Columns, leading: Sequence[str]
) -> None:
    """Write the items of a spool in a form that needs all of them first.

    Args:
        spool: The file with the items.
        size: The bytes of the items in it.
        sink: The file to write into.
        form: The form: CSV or Parquet.
        columns: The columns; None for all attributes.
        leading: Attributes whose columns come first, if `columns` is None.

    Raises:
        ParquetUnavailable: The form is Parquet, and pyarrow is not installed.
        SpoolError: The spool has no whole items.
    """

    def items() -> Iterator[Item]:
        return (item for item, _ in spooled(spool, size))

    names = columns_of(items(), leading) if columns is None else columns
    if form == "parquet":
        arrow, schema = load_pyarrow(), Schema()
        for item in items():
            schema.add(item)
        write(arrow, sink, schema.columns(arrow, names), spooled(spool, size))
        return
    text = Csv(names)
    sink.write(text.start().encode())
    pending: list[Item] = []
    for item in items():
        pending.append(item)
        if len(pending) == _ITEMS_AT_ONCE:
            sink.write(text.items(pending, 0).encode())
            pending.clear()
    sink.write(text.items(pending, 0).encode())
