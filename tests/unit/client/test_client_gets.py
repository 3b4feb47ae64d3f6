"""`get`: an item for each key, however many keys and calls there are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    BatchGetItemsResponse,
    GetResult,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue, Item
from dynamodb_processor_client import (
    DeadlineExceeded,
    Internal,
    QueryClient,
    Unavailable,
    Value,
)
from tests.unit.client.conftest import FakeTime, running
from tests.unit.client.service import Context, Failure, FakeService, numbered


def keys(*numbers: int) -> list[dict[str, int]]:
    """Return keys of items; there are those from 0 to 999."""
    return [{"n": number} for number in numbers]


async def test_items_come_in_the_order_of_their_keys(client: QueryClient) -> None:
    """`None` where there is none, twice where it is asked for twice."""
    found = await client.get("numbers", keys(7, 7_000, 3, 7))
    assert found == [{"n": Decimal(7)}, None, {"n": Decimal(3)}, {"n": Decimal(7)}]


async def test_no_keys_are_no_call(client: QueryClient, service: FakeService) -> None:
    """There is nothing to ask."""
    assert await client.get("numbers", []) == []
    assert not service.batch_requests


async def test_many_keys_are_many_calls(client: QueryClient, service: FakeService) -> None:
    """Of a hundred keys at most, with one deadline."""
    found = await client.get("numbers", (key for key in keys(*range(250))), timeout=30.0)
    assert found == [{"n": Decimal(number)} for number in range(250)]
    assert [len(request.keys) for request in service.batch_requests] == [100, 100, 50]
    assert service.deadlines == [pytest.approx(30.0, abs=1.0)] * 3  # gRPC rounds what it sends


async def test_deferred_keys_are_asked_for_again(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """Until all are there; as long as some come there is no pause."""
    service.got_at_once = 30
    found = await client.get("numbers", keys(*range(150)))
    assert found == [{"n": Decimal(number)} for number in range(150)]
    assert len(service.batch_requests) == 5
    assert time.pauses == []


async def test_keys_that_are_always_deferred_are_given_up(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """After pauses that grow, with the number of those that were not read."""
    service.got_at_once = 0
    with pytest.raises(Unavailable, match="3 of 3 keys were not read") as raised:
        await client.get("numbers", keys(1, 2, 3), timeout=None)
    assert raised.value.reason == "KEYS_DEFERRED"
    assert len(service.batch_requests) == 6
    assert time.pauses == [0.1, 0.2, 0.4, 0.8, 1.6]


async def test_the_deadline_ends_the_asking(client: QueryClient, service: FakeService) -> None:
    """The error says how much was left."""
    service.got_at_once = 0
    with pytest.raises(DeadlineExceeded, match=r"the deadline passed; 120 of 120 keys were not"):
        await client.get("numbers", keys(*range(120)), timeout=0.5)
    assert len(service.batch_requests) == 3


async def test_a_deadline_that_the_service_notices_is_told_alike(
    client: QueryClient, service: FakeService
) -> None:
    """In the client's words, which say more."""
    service.failures.append(Failure(grpc.StatusCode.DEADLINE_EXCEEDED))
    with pytest.raises(DeadlineExceeded, match="2 of 2 keys were not read by then"):
        await client.get("numbers", keys(1, 2))


async def test_the_options_of_a_get_are_sent(client: QueryClient, service: FakeService) -> None:
    """In their fields; what is not asked is not sent."""
    key: dict[str, Value] = {"id": "a", "at": Decimal("1.5"), "raw": b"\x00"}
    await client.get("numbers", [key], projection=["n", "a.b[0]"], consistent=True)
    await client.get("numbers", keys(1))
    full, bare = service.batch_requests
    attributes = {
        "id": AttributeValue(s="a"),
        "at": AttributeValue(n="1.5"),
        "raw": AttributeValue(b=b"\x00"),
    }
    assert full == BatchGetItemsRequest(
        table="numbers",
        keys=[Item(attributes=attributes)],
        projection=["n", "a.b[0]"],
        consistency=query_pb2.CONSISTENCY_STRONG,
    )
    key_of_one = Item(attributes={"n": AttributeValue(n="1")})
    assert bare == BatchGetItemsRequest(table="numbers", keys=[key_of_one])


async def test_mistakes_in_keys_are_found_before_sending(
    client: QueryClient, service: FakeService
) -> None:
    """What cannot be a value, and a string for a list."""
    wrong: Any = {"n": 1.5}
    with pytest.raises(TypeError, match="float"):
        await client.get("numbers", [wrong])
    with pytest.raises(TypeError, match="list of paths"):
        await client.get("numbers", keys(1), projection="n")
    assert not service.batch_requests


class _Broken(FakeService):
    """A service whose batches are not what the contract says."""

    response = BatchGetItemsResponse()

    async def BatchGetItems(  # noqa: N802 - the contract's name
        self, request: BatchGetItemsRequest, context: Context
    ) -> BatchGetItemsResponse:
        """Answer in its own way."""
        return self.response


@pytest.mark.parametrize(
    ("results", "reason"),
    [([], "RESULTS_INCOMPLETE"), ([GetResult()], "UNKNOWN_RESULT_KIND")],
)
async def test_results_that_make_no_sense_are_errors(results: list[GetResult], reason: str) -> None:
    """None is taken for a missing item."""
    service = _Broken(items=numbered(3))
    service.response = BatchGetItemsResponse(results=results)
    async with running(service), QueryClient(service.address) as client:
        with pytest.raises(Internal) as raised:
            await client.get("numbers", keys(1))
    assert raised.value.reason == reason
