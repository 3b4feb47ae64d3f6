"""Results on standard output in a form that needs all items first."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from typing import BinaryIO, Final

from dynamodb_processor_client.destinations import Columns, Form
from dynamodb_processor_client.exports.forms import convert
from dynamodb_processor_client.exports.spool import frames
from dynamodb_processor_client.values import Item

_IN_MEMORY: Final = 2**20  # bytes, above which the items go into a temporary file


class SpooledOutput:
    """Keeps items, in a temporary file if they are many, until their columns are known."""

    def __init__(self, form: Form, columns: Columns, leading: Sequence[str]) -> None:
        """Keep items for this form; `leading` names the first columns if `columns` is None."""
        self._form: Form = form
        self._columns = columns
        self._leading = leading
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - see write
        self._size = 0

    def add(self, items: Sequence[Item]) -> None:
        """Keep some items."""
        data = frames(items)
        self._file.seek(self._size)
        self._file.write(data)
        self._size += len(data)

    def write(self, sink: BinaryIO) -> None:
        """Write all items, and remove the temporary file."""
        with self._file as file:
            convert(file, self._size, sink, self._form, self._columns, self._leading)  # type: ignore[arg-type]  # it has the methods of a file
