"""The options of `ddbq` for the form of its output, the columns, and files."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from typing import Final

from dynamodb_processor_client.assignments import utf8
from dynamodb_processor_client.destinations import (
    FILE_FORMS,
    ITEM_FORMS,
    VALUE_FORMS,
    form_of,
    form_or_file,
)

_DEFAULT: Final = "(default: table on a terminal, else jsonl)"
_FORMS_HELP: Final = (
    "table: for people, with one attribute a line where the columns do not fit; vertical: always "
    "so; jsonl: one JSON object a line; json: one JSON document"
)
_ITEMS_HELP: Final = "csv, and parquet, which needs pyarrow"
_COLUMN: Final = re.compile(r'\s*(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<bare>[^",]+?))\s*(?:,|$)')
_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def add_value_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output` for one value or a few rows."""
    add = parser.add_argument
    add(
        *("-o", "--output"),
        metavar="FORM",
        type=form_of(VALUE_FORMS),
        help=f"{_FORMS_HELP} {_DEFAULT}",
    )


def add_item_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output` and `--columns` for items."""
    add = parser.add_argument
    add(
        *("-o", "--output"),
        metavar="FORM",
        type=form_of(ITEM_FORMS),
        help=f"{_FORMS_HELP}; {_ITEMS_HELP} {_DEFAULT}",
    )
    _add_columns(parser)


def add_stream_output(parser: argparse.ArgumentParser) -> None:
    """Add `--output`, `--columns`, and the options of exports into files."""
    add = parser.add_argument
    add(
        *("-o", "--output"),
        metavar="FORM|FILE",
        type=form_or_file,
        help=f"{_FORMS_HELP}; {_ITEMS_HELP}; or a file, which appears when it is complete "
        f"{_DEFAULT}",
    )
    add("--format", choices=FILE_FORMS, help="the form of the file (default: by its suffix)")
    add(
        "--resume",
        action="store_true",
        help="continue the unfinished export into the file; begin it, if there is none",
    )
    _add_columns(parser)


def _add_columns(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--columns",
        metavar="NAME,...",
        type=_columns,
        help="print these attributes, in this order (default: all of them; names with a comma are "
        "quoted: '\"a,b\",c')",
    )


def projection_of(columns: list[str]) -> list[str]:
    """Return the document paths for attributes: names that are no plain words are quoted."""
    return [
        name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"' for name in columns
    ]


def _columns(argument: str) -> list[str]:
    names = list(_names(utf8(argument)))
    for name in names:
        if names.count(name) > 1:
            raise argparse.ArgumentTypeError(f"{name} is given twice")
    return names


def _names(text: str) -> Iterator[str]:
    at = 0
    while at < len(text) or text.endswith(",") or not text:
        match = _COLUMN.match(text, at)
        if match is None:
            raise argparse.ArgumentTypeError(f"not a list of names with commas: {text!r}")
        yield match["bare"] or match["quoted"].replace('""', '"')
        at = match.end()
        if at == len(text) and not text.endswith(","):
            return
