"""Tests of `total`: the number of all matching items, with pages and streams."""

from __future__ import annotations

from typing import Any

import pytest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor_client import Query, QueryClient, Total
from tests.support.fake_service import Cut, FakeService


async def test_a_page_has_the_requested_total(client: QueryClient, service: FakeService) -> None:
    """A total is exact, a lower bound, or left out."""
    exact = await client.query(Query("numbers"), page_size=5, total="exact")
    bounded = await client.query(Query("numbers"), page_size=5, total=300)
    without = await client.query(Query("numbers"), page_size=5)
    assert [page.total for page in (exact, bounded, without)] == [
        Total(1_000, exact=True),
        Total(300, exact=False),
        None,
    ]
    assert service.requests[0].total.mode == query_pb2.TOTAL_MODE_EXACT
    assert service.requests[1].total.mode == query_pb2.TOTAL_MODE_BOUNDED
    assert not service.requests[2].HasField("total")


async def test_a_stream_has_the_total_from_its_first_page_on(
    client: QueryClient, service: FakeService
) -> None:
    """The total stays after a break, where it is not counted again."""
    service.cuts.append(Cut(after=2))
    pages = client.pages(Query("numbers"), page_size=300, total="exact")
    assert pages.total is None
    assert [page.total async for page in pages] == [Total(1_000, exact=True)] * 4
    assert pages.total == Total(1_000, exact=True)
    assert [request.HasField("total") for request in service.stream_requests] == [True, False]


async def test_a_stream_of_items_has_the_total(client: QueryClient) -> None:
    """A stream has its total from the first item on."""
    items = client.stream(Query("numbers"), total=50)
    assert items.total is None
    await anext(items)
    assert items.total == Total(50, exact=False)
    await items.aclose()


@pytest.mark.parametrize("wish", [True, "all", 1.5])
async def test_other_totals_are_refused(
    client: QueryClient, service: FakeService, wish: Any
) -> None:
    """Another value of `total` is refused before anything is sent."""
    with pytest.raises(TypeError, match="a total is"):
        await client.query(Query("numbers"), total=wish)
    assert not service.requests
