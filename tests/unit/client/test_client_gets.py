"""Tests of `get`: an item for each key, with any number of keys and calls."""

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
from tests.support.fake_server import running
from tests.support.fake_service import Context, Failure, FakeService, numbered
from tests.unit.client.fake_time import FakeTime


def keys(*numbers: int) -> list[dict[str, int]]:
    """Return keys of items; items 0 to 999 exist."""
    return [{"n": number} for number in numbers]


async def test_items_come_in_the_order_of_their_keys(client: QueryClient) -> None:
    """The item is `None` for an unknown key, and repeated for a repeated key."""
    found = await client.get("numbers", keys(7, 7_000, 3, 7))
    assert found == [{"n": Decimal(7)}, None, {"n": Decimal(3)}, {"n": Decimal(7)}]


async def test_no_keys_need_no_call(client: QueryClient, service: FakeService) -> None:
    """Without keys nothing is sent."""
    assert await client.get("numbers", []) == []
    assert not service.batch_requests


async def test_many_keys_are_many_calls(client: QueryClient, service: FakeService) -> None:
    """Each call has a hundred keys at most, and all share one deadline."""
    found = await client.get("numbers", (key for key in keys(*range(250))), timeout=30.0)
    assert found == [{"n": Decimal(number)} for number in range(250)]
    assert [len(request.keys) for request in service.batch_requests] == [100, 100, 50]
    assert service.deadlines == [pytest.approx(30.0, abs=1.0)] * 3  # gRPC rounds deadlines


async def test_deferred_keys_are_requested_again(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """Deferred keys are requested until all are answered, without a pause while some are."""
    service.got_at_once = 30
    found = await client.get("numbers", keys(*range(150)))
    assert found == [{"n": Decimal(number)} for number in range(150)]
    assert len(service.batch_requests) == 5
    assert time.pauses == []


async def test_keys_that_are_always_deferred_are_given_up(
    client: QueryClient, service: FakeService, time: FakeTime
) -> None:
    """After growing pauses the error has the number of unread keys."""
    service.got_at_once = 0
    with pytest.raises(Unavailable, match="3 of 3 keys were not read") as raised:
        await client.get("numbers", keys(1, 2, 3), timeout=None)
    assert raised.value.reason == "KEYS_DEFERRED"
    assert len(service.batch_requests) == 6
    assert time.pauses == [0.1, 0.2, 0.4, 0.8, 1.6]


async def test_the_deadline_ends_a_get(client: QueryClient, service: FakeService) -> None:
    """The error contains the number of unread keys."""
    service.got_at_once = 0
    with pytest.raises(DeadlineExceeded, match=r"the deadline passed; 120 of 120 keys were not"):
        await client.get("numbers", keys(*range(120)), timeout=0.5)
    assert len(service.batch_requests) == 3


async def test_a_deadline_of_the_service_has_the_same_error(
    client: QueryClient, service: FakeService
) -> None:
    """The message is the client's, which contains the number of unread keys."""
    service.failures.append(Failure(grpc.StatusCode.DEADLINE_EXCEEDED))
    with pytest.raises(DeadlineExceeded, match="2 of 2 keys were not read by then"):
        await client.get("numbers", keys(1, 2))


async def test_the_options_of_a_get_are_sent(client: QueryClient, service: FakeService) -> None:
    """The options arrive in their fields; options left out are not sent."""
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


async def test_invalid_keys_are_refused_before_sending(
    client: QueryClient, service: FakeService
) -> None:
    """A value of another type, and a string in place of a list, are refused."""
    wrong: Any = {"n": 1.5}
    with pytest.raises(TypeError, match="float"):
        await client.get("numbers", [wrong])
    with pytest.raises(TypeError, match="list of paths"):
        await client.get("numbers", keys(1), projection="n")
    assert not service.batch_requests


class _Broken(FakeService):
    """A service whose batches violate the contract."""

    response = BatchGetItemsResponse()

    async def BatchGetItems(  # noqa: N802 - the contract's name
        self, request: BatchGetItemsRequest, context: Context
    ) -> BatchGetItemsResponse:
        """Answer with the results of the test."""
        return self.response


@pytest.mark.parametrize(
    ("results", "reason"),
    [([], "RESULTS_INCOMPLETE"), ([GetResult()], "UNKNOWN_RESULT_KIND")],
)
async def test_invalid_results_are_errors(results: list[GetResult], reason: str) -> None:
    """An invalid result is not taken for a missing item."""
    service = _Broken(items=numbered(3))
    service.response = BatchGetItemsResponse(results=results)
    async with running(service), QueryClient(service.address) as client:
        with pytest.raises(Internal) as raised:
            await client.get("numbers", keys(1))
    assert raised.value.reason == reason
