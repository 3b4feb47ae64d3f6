"""The worked examples of the cost guide cost on DynamoDB Local as many read units as it says."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import pytest

from dynamodb_processor.v1.query_pb2 import CacheMode, CachePolicy, QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    CountItemsRequest,
    CountItemsResponse,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import Item
from tests.support.access import ApiKey, keys_file
from tests.support.channels import Caller, open_caller
from tests.support.conditions import WireItem
from tests.support.datasets import Index, Schema
from tests.support.documentation import ROOT
from tests.support.dynamodb import create_table, open_client, put_items
from tests.support.event_service import NO_LIMITS
from tests.support.messages import spec, to_value
from tests.support.processes import served

TABLE: Final = "cost-events"
KEY: Final = ApiKey("cost")
PAGE: Final = ROOT / "docs" / "guide" / "cost.md"
ITEMS: Final = 1_000
ITEM_BYTES: Final = 500
RARE: Final = 50  # one item in so many
UNCACHED: Final = CachePolicy(mode=CacheMode.CACHE_MODE_BYPASS)
USER: Final = {"u": {"S": "u-1"}}
RARE_EVENTS: Final = USER | {"o": {"S": "denied"}}


def make_items() -> Iterator[WireItem]:
    """Yield the events of one user, each of 500 bytes; one in fifty is rare in three attributes."""
    for number in range(ITEMS):
        outcome = {"S": "denied" if number % RARE == 0 else "passed"}
        item: WireItem = {
            "user_id": {"S": "u-1"},
            "event_id": {"S": f"e-{number:04}"},
            "outcome": outcome,
            "result": outcome,
            "review": outcome,
        }
        size = sum(len(name) + len(str(value["S"])) for name, value in item.items())
        item["text"] = {"S": "x" * (ITEM_BYTES - size - len("text"))}
        yield item


@pytest.fixture(scope="module")
def address(dynamodb_local: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server over the events."""
    client = open_client(dynamodb_local)
    indexes = (
        Index("by_outcome", False, ("user_id",), ("outcome",)),
        Index("by_review", False, ("user_id",), ("review",), "KEYS_ONLY"),
    )
    types = dict.fromkeys(("user_id", "event_id", "outcome", "review"), "S")
    create_table(client, Schema(TABLE, "user_id", "event_id", indexes, types))
    put_items(client, TABLE, make_items())
    catalog = {"tables": {TABLE: {"required": ["outcome", "review"]}}}
    with served(
        catalog,
        keys_file(KEY),
        tmp_path_factory.mktemp("cost"),
        endpoint_url=dynamodb_local,
        env={"DYNAMODB_PROCESSOR_RATE_CLASSES": NO_LIMITS},
    ) as server:
        yield server.address


@pytest.fixture
async def caller(address: str) -> AsyncIterator[Caller]:
    """A caller that may read everything."""
    async with open_caller(address, KEY.text) as opened:
        yield opened


async def streamed(caller: Caller, query: QuerySpec, page_size: int) -> float:
    """Return the read units of all pages of the query."""
    request = StreamQueryRequest(query=query, page_size=page_size, cache=UNCACHED)
    return sum([message.stats.read_units async for message in caller.stream(request)])


async def queried(caller: Caller, query: QuerySpec, page_size: int) -> float:
    """Return the read units of all pages of the query, each of a call of its own."""
    units = 0.0
    request = QueryRequest(query=query, page_size=page_size, cache=UNCACHED)
    while True:
        page = await caller.query(request)
        units += page.stats.read_units
        if not page.next_page_token:
            return units
        request.page_token = page.next_page_token


async def paged(caller: Caller, query: QuerySpec) -> float:
    """Return the read units of one page that holds all items of the query."""
    request = QueryRequest(query=query, page_size=1_000, cache=UNCACHED)
    page = await caller.query(request)
    assert len(page.items) == ITEMS // RARE
    assert not page.next_page_token
    return page.stats.read_units


async def counted(caller: Caller, query: QuerySpec) -> float:
    """Return the read units of counting the items of the query."""
    request = CountItemsRequest(query=query, cache=UNCACHED)
    answer = await caller.raw("CountItems", request.SerializeToString())
    response = CountItemsResponse.FromString(answer)
    assert response.total.value == ITEMS // RARE
    return response.stats.read_units


async def fetched(caller: Caller) -> float:
    """Return the read units of getting every item by its key, in batches of 100."""
    units = 0.0
    for first in range(0, ITEMS, 100):
        keys = [
            Item(
                attributes={
                    "user_id": to_value({"S": "u-1"}),
                    "event_id": to_value({"S": f"e-{number:04}"}),
                }
            )
            for number in range(first, first + 100)
        ]
        request = BatchGetItemsRequest(table=TABLE, keys=keys)
        answer = await caller.raw("BatchGetItems", request.SerializeToString())
        units += BatchGetItemsResponse.FromString(answer).stats.read_units
    return units


def events_of_user(*, strong: bool = False) -> QuerySpec:
    """Return the query for all events of the user."""
    return spec(TABLE, "user_id = :u", USER, strong=strong)


def rare_events(attribute: str, *, projection: tuple[str, ...] = ()) -> QuerySpec:
    """Return the query for the rare events of the user, by one of the three attributes."""
    condition = f"user_id = :u AND {attribute} = :o"
    return spec(TABLE, condition, RARE_EVENTS, projection=projection)


#: The first cell of a row of the guide -> its cost.
EXAMPLES: Final[dict[str, Callable[[Caller], Awaitable[float]]]] = {
    "`StreamQuery`, 100 items a page": lambda caller: streamed(caller, events_of_user(), 100),
    "`StreamQuery`, 10 items a page": lambda caller: streamed(caller, events_of_user(), 10),
    "`Query`, 100 items a page": lambda caller: queried(caller, events_of_user(), 100),
    "`Query`, 10 items a page": lambda caller: queried(caller, events_of_user(), 10),
    "`StreamQuery`, `CONSISTENCY_STRONG`": lambda caller: streamed(
        caller, events_of_user(strong=True), 100
    ),
    "`BatchGetItems`, 100 keys each": fetched,
    "`result` has no index": lambda caller: paged(caller, rare_events("result")),
    "`outcome` has an index": lambda caller: paged(caller, rare_events("outcome")),
    "counted by `result`": lambda caller: counted(caller, rare_events("result")),
    "counted by `outcome`": lambda caller: counted(caller, rare_events("outcome")),
    "all attributes": lambda caller: paged(caller, rare_events("review")),
    "`projection: [event_id]`": lambda caller: paged(
        caller, rare_events("review", projection=("event_id",))
    ),
}


@pytest.mark.parametrize("label", EXAMPLES)
async def test_an_example_costs_as_the_guide_says(label: str, caller: Caller) -> None:
    """The read units in the row of the guide are those that the response reports."""
    units = await EXAMPLES[label](caller)
    text = PAGE.read_text(encoding="utf-8")
    row = re.search(rf"^\| {re.escape(label)} \| ([\d.,]+) \|", text, re.MULTILINE)
    assert row is not None, (label, units)
    assert float(row[1].replace(",", "")) == pytest.approx(units, abs=0.01)
