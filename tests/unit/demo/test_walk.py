"""Tests that the demo fails when the answers of the service are not the expected ones."""

from __future__ import annotations

import io
from typing import Any, cast

import pytest
from rich.console import Console

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import QueryResponse
from dynamodb_processor_client import Page, QueryClient, Unavailable
from dynamodb_processor_client.values import encode
from dynamodb_processor_server.demo.audit_events import BY_USER, audit_events
from dynamodb_processor_server.demo.connection import Connection
from dynamodb_processor_server.demo.failure import DemoFailed
from dynamodb_processor_server.demo.flights import flights
from dynamodb_processor_server.demo.sample_table import Item
from dynamodb_processor_server.demo.screen import Screen
from dynamodb_processor_server.demo.walk import Walk

EVENTS = audit_events()
FIRST = list(EVENTS.partition("u-1", BY_USER))[:5]


class Service:
    """Answers every query with the same page, or raises the same error."""

    def __init__(self, answer: Page | Exception) -> None:
        self._answer = answer

    async def query(self, *_: Any, **__: Any) -> Page:
        """Answer a query."""
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def page(items: list[Item], following: str = "AQ", index: str = BY_USER) -> Page:
    """Return a page of items."""
    message = QueryResponse(next_page_token=following)
    for item in items:
        fields = message.items.add().attributes
        for name, value in item.items():
            fields[name].CopyFrom(encode(value))
    message.stats.CopyFrom(query_pb2.PageStats(items_returned=len(items), index_used=index))
    return Page.from_message(message)


async def run_steps(answer: Page | Exception) -> str:
    """Run the steps with such a service, and return their failure."""
    screen = Screen(Console(file=io.StringIO()))
    client = cast(QueryClient, Service(answer))
    connection = Connection("127.0.0.1:1", "ddbp_none")
    with pytest.raises(DemoFailed) as caught:
        await Walk(client, connection, EVENTS, flights(), screen).run()
    return str(caught.value)


async def test_right_page_is_accepted() -> None:
    """The first step passes with the expected page; the second expects another one."""
    assert "step 2" in await run_steps(page(FIRST))


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (page([]), "not the sample's items"),
        (page(FIRST[:4]), "not the sample's items"),
        (page(FIRST[::-1]), "not the sample's items"),
        (page([FIRST[0] | {"outcome": "?"}, *FIRST[1:]]), "not the sample's items"),
        (page(FIRST, following=""), "there is no token"),
        (page(FIRST, index="by_system"), "another index was read than by_user"),
        (Unavailable("the service is away"), "UNAVAILABLE: the service is away"),
    ],
    ids=["empty", "short", "reversed", "altered", "no token", "other index", "error"],
)
async def test_unexpected_answer_ends_the_demo(answer: Page | Exception, complaint: str) -> None:
    """Each of these answers makes the demo exit with 1."""
    failure = await run_steps(answer)
    assert "step 1, What one user did" in failure
    assert complaint in failure
