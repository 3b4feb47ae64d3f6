"""Items with values of every type, and the files that exports of them are."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from dynamodb_processor.v1.value_pb2 import Item
from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_client.values import decode_item, encode

LATE = 1_234
"""The number of the only item with the attribute `a_late_one`."""


def varied(count: int) -> list[Item]:
    """Return items with all types of values, of which some are missing, empty or null."""
    return [_varied(number) for number in range(count)]


def _varied(number: int) -> Item:
    values: dict[str, Any] = {
        "n": number,
        "text": ["plain", "a,b", 'say "so"', "two\nlines", "", "null", " edges "][number % 7],
        "price": Decimal(number * 100 + 1).scaleb(-4),  # without a zero that DynamoDB drops
        "digits": Decimal("1." + "2" * 37),
        "flag": number % 2 == 0,
        "bytes": b"\x00\xff"[: number % 3],
        "tags": {"b", "a"},
        "numbers": {Decimal(1), Decimal("2.5")},
        "list": [1, None, {"deep": b"x"}],
        "mixed": "5" if number % 2 else 5,
    }
    if number % 3 == 0:
        values["none"] = None
    if number % 5 == 0:
        del values["text"]
    if number == LATE:  # a column that only a late item has
        values["a_late_one"] = "late"
    return Item(attributes={name: encode(value) for name, value in values.items()})


def expected_jsonl(items: Sequence[Item]) -> str:
    """Return the JSON lines of items."""
    return "".join(f"{to_json(decode_item(item))}\n" for item in items)


def csv_cell(value: object) -> str:
    """Return the text of a value as a reader of CSV finds it, without its quotes."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return value
    text = to_json(value)
    return str(json.loads(text)) if isinstance(value, bytes) else text


def expected_rows(items: Sequence[Item], columns: Sequence[str]) -> list[dict[str, str]]:
    """Return the rows of items as a reader of CSV finds them."""
    return decoded_rows([decode_item(item) for item in items], columns)


def decoded_rows(
    items: Sequence[Mapping[str, object]], columns: Sequence[str]
) -> list[dict[str, str]]:
    """Return the rows of items that are Python values."""
    return [
        {name: csv_cell(item[name]) if name in item else "" for name in columns} for item in items
    ]


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def names_in(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(one.name for one in folder.iterdir())
