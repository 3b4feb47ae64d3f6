"""Items as text: CSV, JSON lines and JSON documents, in pieces that follow one another.

In CSV (RFC 4180, but with a line feed at the end of lines, in UTF-8):

- a missing attribute is an empty cell, `""` is an empty text, and `null` is DynamoDB's null;
- a text is quoted if it has a comma, a quote, a line break or a space at an end, and if it is empty
  or `null`, so that no text looks like another value;
- lists, maps and sets are JSON, and binary values base64, as in the JSON of `ddbq`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Protocol

from dynamodb_processor_client.destinations import Columns, Form
from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_client.values import Item

_NEEDS_QUOTES = re.compile(r'[,"\r\n]|^\s|\s$|^(?:null)?$')


class TextForm(Protocol):
    """A form of text; `before` is the number of items that were written already.

    In JSON, `None` instead of an item is null; CSV leaves it out.
    """

    def start(self) -> str:
        """Return the text before the first item."""
        ...

    def items(self, items: Iterable[Item | None], before: int) -> str:
        """Return the text of some items."""
        ...

    def end(self, count: int) -> str:
        """Return the text after the last of `count` items."""
        ...


class JsonLines:
    """One JSON object a line."""

    def __init__(self, columns: Columns) -> None:
        """Write the attributes in `columns`, in their order; all of them for None."""
        self._columns = columns

    def start(self) -> str:
        """Return nothing: each line stands for itself."""
        return ""

    def items(self, items: Iterable[Item | None], before: int) -> str:
        """Return a line for each item."""
        return "".join(f"{to_json(selected(item, self._columns))}\n" for item in items)

    def end(self, count: int) -> str:
        """Return nothing: each line stands for itself."""
        return ""


class JsonDocument:
    """One JSON array."""

    def __init__(self, columns: Columns) -> None:
        """Write the attributes in `columns`, in their order; all of them for None."""
        self._columns = columns

    def start(self) -> str:
        """Return the start of the array."""
        return "["

    def items(self, items: Iterable[Item | None], before: int) -> str:
        """Return the items, each on its line, with a comma before all but the first."""
        lines = (to_json(selected(item, self._columns)) for item in items)
        return "".join(f"{',' if before + n else ''}\n{line}" for n, line in enumerate(lines))

    def end(self, count: int) -> str:
        """Return the end of the array."""
        return "\n]\n" if count else "]\n"


class Csv:
    """CSV with a header; the columns have to be known before the first item."""

    def __init__(self, columns: Sequence[str]) -> None:
        """Write these columns, in their order."""
        self._columns = columns

    def start(self) -> str:
        """Return the header."""
        return ",".join(map(_cell, self._columns)) + "\n" if self._columns else ""

    def items(self, items: Iterable[Item | None], before: int) -> str:
        """Return a row for each item; none for a key without an item."""
        return "".join(self._row(item) for item in items if item is not None)

    def end(self, count: int) -> str:
        """Return nothing: a table of rows has no end of its own."""
        return ""

    def _row(self, item: Item) -> str:
        cells = ",".join(_cell(item[one]) if one in item else "" for one in self._columns)
        # Readers of CSV leave empty lines out.
        return f"{cells}\n" if cells else '""\n'


def text_form(form: Form, columns: Columns) -> TextForm | None:
    """Return the form whose items can be written as they come.

    None for forms for people, and for those that need all items first: Parquet, and CSV whose
    columns are not given.
    """
    match form:
        case "jsonl":
            return JsonLines(columns)
        case "json":
            return JsonDocument(columns)
        case "csv" if columns is not None:
            return Csv(columns)
    return None


def selected(item: Item | None, columns: Columns) -> Item | None:
    """Return the attributes of an item that `columns` names, in that order; all for None."""
    if item is None or columns is None:
        return item
    return {name: item[name] for name in columns if name in item}


def _cell(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool() | Decimal():
            return to_json(value)
        case str():
            text = value
        case bytes():
            text = base64.b64encode(value).decode("ascii")
        case _:
            text = to_json(value)
    if _NEEDS_QUOTES.search(text):
        return '"' + text.replace('"', '""') + '"'
    return text
