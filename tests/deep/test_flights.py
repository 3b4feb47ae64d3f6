"""Queries of all flights of a year, answered by the service and by a pass over the CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from dynamodb_processor.v1.query_pb2 import Budget, TotalMode, TotalOptions, TotalRelation
from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest, CountItemsResponse
from tests.deep.flights import FLIGHTS, Row, departure, item_of, number, rows
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.complete_reads import by_pages, by_stream
from tests.support.conditions import Path as DocumentPath
from tests.support.conditions import WireItem
from tests.support.event_service import NO_LIMITS
from tests.support.messages import spec
from tests.support.oracle import expected
from tests.support.processes import served

KEY: Final = ApiKey("flights")
AIRCRAFT: Final = ("N14228", "N711MQ", "N324JB")
FAR: Final = ("SFO", "LAX", "SEA", "PDX", "HNL", "SAN", "LAS", "ANC")


@dataclass(frozen=True, slots=True)
class FlightQuery:
    """A query in the service's language, and a predicate in Python for the rows that answer it.

    `order` names the attributes by which the answer is sorted; `index` is the path that the planner
    should choose, empty for the table.
    """

    text: str
    answers: Callable[[Row], bool]
    order: tuple[str, ...] = ("departure",)
    index: str = ""
    descending: bool = False
    projection: tuple[str, ...] = ()
    max_items: int | None = None


def late(row: Row, minutes: int) -> bool:
    """Return whether a flight left more than so many minutes late."""
    return (number(row, "dep_delay") or 0) > minutes


def cancelled(row: Row) -> bool:
    """Return whether a flight never left."""
    return number(row, "dep_time") is None


def made_up(row: Row) -> bool:
    """Return whether a flight arrived less late than it left."""
    left, arrived = number(row, "dep_delay"), number(row, "arr_delay")
    return left is not None and arrived is not None and arrived < left


def of_month(row: Row, carrier: str, *months: str) -> bool:
    """Return whether a flight was of a carrier and of one of some months."""
    return row["carrier"] == carrier and row["month"] in months


QUERIES: Final[dict[str, FlightQuery]] = {
    "one carrier's departures in one week, over an hour late": FlightQuery(
        "carrier = 'UA' AND departure >= '2013-02-11' AND departure < '2013-02-18' "
        "AND dep_delay > 60",
        lambda row: of_month(row, "UA", "2") and 11 <= int(row["day"]) <= 17 and late(row, 60),
    ),
    "three tail numbers in the order of departure": FlightQuery(
        f"tailnum IN {AIRCRAFT}",
        lambda row: row["tailnum"] in AIRCRAFT,
        index="by_aircraft",
    ),
    "the same in July over 200 miles, latest first": FlightQuery(
        f"tailnum IN {AIRCRAFT} AND begins_with(departure, '2013-07') AND distance > 200",
        lambda row: (
            row["tailnum"] in AIRCRAFT and row["month"] == "7" and int(row["distance"]) > 200
        ),
        index="by_aircraft",
        descending=True,
    ),
    "a carrier's worst delays first, from a local index": FlightQuery(
        "carrier = 'DL' AND dep_delay BETWEEN 240 AND 1000",
        lambda row: row["carrier"] == "DL" and 240 <= (number(row, "dep_delay") or 0) <= 1000,
        order=("dep_delay",),
        index="by_delay",
        descending=True,
    ),
    "a route, by an index with four key attributes": FlightQuery(
        "origin = 'JFK' AND dest = 'LAX' AND departure BETWEEN '2013-12-20' AND '2014' "
        "AND dep_delay >= -9",
        lambda row: (
            (row["origin"], row["dest"], row["month"]) == ("JFK", "LAX", "12")
            and int(row["day"]) >= 20
            and not cancelled(row)
            and late(row, -10)
        ),
        index="by_route",
    ),
    "two airports and eight far destinations, delayed, not of two carriers": FlightQuery(
        f"origin IN ('JFK', 'EWR') AND dest IN {FAR} AND dep_delay >= 180 "
        "AND NOT (carrier = 'UA' OR carrier = 'B6')",
        lambda row: (
            row["origin"] in ("JFK", "EWR")
            and row["dest"] in FAR
            and late(row, 179)
            and row["carrier"] not in ("UA", "B6")
        ),
        order=("departure", "dep_delay"),
        index="by_route",
    ),
    "cancelled flights of two carriers in a month": FlightQuery(
        "carrier IN ('9E', 'MQ') AND begins_with(departure, '2013-02') "
        "AND attribute_not_exists(dep_time)",
        lambda row: row["carrier"] in ("9E", "MQ") and row["month"] == "2" and cancelled(row),
    ),
    "three attributes of every flight to Hawaii by one carrier": FlightQuery(
        "carrier = 'HA'",
        lambda row: row["carrier"] == "HA",
        projection=("flight", "dest", "origin"),
    ),
    "made up time on long flights, one attribute against another": FlightQuery(
        "carrier = 'VX' AND departure > '2013-07' AND departure < '2013-09' "
        "AND arr_delay < dep_delay AND distance >= 2400",
        lambda row: of_month(row, "VX", "7", "8") and made_up(row) and int(row["distance"]) >= 2400,
    ),
    "a carrier's last 500 flights": FlightQuery(
        "carrier = 'AA'", lambda row: row["carrier"] == "AA", descending=True, max_items=500
    ),
}
# A scan's answer has no order.
SCAN: Final = FlightQuery(
    "attribute_not_exists(tailnum) AND dest = 'SFO'",
    lambda row: row["tailnum"] in ("", "NA") and row["dest"] == "SFO",
    order=(),
)
# DynamoDB Local does not end an answer before it has an item, and that can take minutes.
SCAN_BUDGET: Final = Budget(max_scanned_items=10_000)


@dataclass(frozen=True, slots=True)
class Truth:
    """The results of a pass over the CSV."""

    found: dict[FlightQuery, list[WireItem]]
    months: Counter[tuple[str, str]]


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Every query answered by checking every row, and each carrier's flights by month."""
    found: dict[FlightQuery, list[WireItem]] = {each: [] for each in (*QUERIES.values(), SCAN)}
    months: Counter[tuple[str, str]] = Counter()
    for row in rows():
        months[row["carrier"], departure(row)[:7]] += 1
        for flight_query, answer in found.items():
            if flight_query.answers(row):
                answer.append(item_of(row))
    assert months.total() == FLIGHTS
    return Truth(found, months)


@pytest.fixture(scope="module")
def address(flights: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over the flights."""
    directory: Path = tmp_path_factory.mktemp("flights")
    catalog = {"tables": {"flights": {"table": "flights", "allow_scan": True}}}
    limits = {
        "DYNAMODB_PROCESSOR_RATE_CLASSES": NO_LIMITS,
        # A page of a scan of so large a table takes DynamoDB Local seconds on a busy machine.
        "DYNAMODB_PROCESSOR_BACKEND_READ_TIMEOUT": "25",
    }
    with served(catalog, keys_file(KEY), directory, endpoint_url=flights, env=limits) as server:
        yield server.address


@pytest.mark.parametrize("name", QUERIES)
async def test_the_service_answers_as_the_file_does(
    address: str, truth: Truth, name: str, show_line: Callable[[str], None]
) -> None:
    """Streamed and paged, the items come in the order that the path gives."""
    flight_query = QUERIES[name]
    right = expected(
        truth.found[flight_query],
        None,
        flight_query.order,
        descending=flight_query.descending,
        projection=[DocumentPath((each,)) for each in flight_query.projection],
    )
    assert right.total > 0, "a query without an answer shows little"
    query = spec(
        "flights",
        flight_query.text,
        descending=flight_query.descending,
        projection=flight_query.projection,
        max_items=flight_query.max_items,
    )
    async with open_caller(address, KEY.text) as caller:
        streamed = await by_stream(caller, query, 1_000)
        paged = await by_pages(caller, query, 150)
    for answer in (streamed, paged):
        assert answer.index == flight_query.index
        assert right.mismatch(answer.items, flight_query.max_items) is None
    show_line(f"flights: {name}: {len(streamed.items)}, equal")


async def test_items_that_no_index_helps_to_find_are_found(
    address: str, truth: Truth, show_line: Callable[[str], None]
) -> None:
    """A scan of all flights finds them, in calls that may evaluate so many each."""
    right = expected(truth.found[SCAN], None, SCAN.order)
    async with open_caller(address, KEY.text) as caller:
        found = await by_pages(caller, spec("flights", SCAN.text), 150, budget=SCAN_BUDGET)
    assert right.mismatch(found.items) is None
    assert found.scanned == FLIGHTS
    show_line(f"flights: a scan: {len(found.items)} in {len(found.tokens)} pages, equal")


async def test_counts_by_month_are_the_files(
    address: str, truth: Truth, show_line: Callable[[str], None]
) -> None:
    """Counts are exact for each of three carriers in each month."""
    counted: Counter[tuple[str, str]] = Counter()
    async with open_caller(address, KEY.text) as caller:
        for carrier in ("B6", "EV", "OO"):
            for month in (f"2013-{number:02}" for number in range(1, 13)):
                text = f"carrier = '{carrier}' AND begins_with(departure, '{month}')"
                counted[carrier, month] = await count(caller, text)
    assert counted == {key: truth.months[key] for key in counted}
    show_line(f"flights: {len(counted)} counts of {counted.total()} by month, equal")


async def test_a_count_of_everything_goes_on_from_call_to_call(address: str) -> None:
    """Each call may evaluate so many items; the totals add up to all flights."""
    totals, token = [0], ""
    async with open_caller(address, KEY.text) as caller:
        while True:
            answer = await ask(caller, "", page_token=token, budget=SCAN_BUDGET)
            totals.append(answer.total.value)
            token = answer.next_page_token
            if not token:
                break
            assert answer.total.relation == TotalRelation.TOTAL_RELATION_AT_LEAST
    assert totals[-1] == FLIGHTS
    assert answer.total.relation == TotalRelation.TOTAL_RELATION_EXACT
    most = SCAN_BUDGET.max_scanned_items
    assert all(0 <= after - before <= most for before, after in pairwise(totals))


async def test_a_bounded_count_stops_at_its_bound(address: str, truth: Truth) -> None:
    """It says that there are more, for a far lower cost."""
    of_ev = sum(number for (carrier, _), number in truth.months.items() if carrier == "EV")
    async with open_caller(address, KEY.text) as caller:
        bounded = await ask(caller, "carrier = 'EV'", up_to=2_000)
        unbounded = await ask(caller, "carrier = 'EV'", up_to=of_ev + 1)
    assert bounded.total.value == 2_000
    assert bounded.total.relation == TotalRelation.TOTAL_RELATION_AT_LEAST
    assert (unbounded.total.value, unbounded.total.relation) == (
        of_ev, TotalRelation.TOTAL_RELATION_EXACT,
    )  # fmt: skip
    assert bounded.stats.read_units < unbounded.stats.read_units / 10


async def count(caller: Caller, text: str) -> int:
    """Return an exact count, for which one call must be enough."""
    answer = await ask(caller, text)
    assert answer.total.relation == TotalRelation.TOTAL_RELATION_EXACT
    assert answer.next_page_token == ""
    return answer.total.value


async def ask(
    caller: Caller,
    text: str,
    *,
    up_to: int | None = None,
    page_token: str = "",
    budget: Budget | None = None,
) -> CountItemsResponse:
    """Return the answer to one call of a count."""
    total = None if up_to is None else TotalOptions(mode=TotalMode.TOTAL_MODE_BOUNDED, up_to=up_to)
    request = CountItemsRequest(
        query=spec("flights", text), total=total, page_token=page_token, budget=budget
    )
    raw = await caller.raw("CountItems", request.SerializeToString(), deadline=120.0)
    return CountItemsResponse.FromString(raw)
