"""Bearer tokens of the client: fixed ones, and ones that a function renews."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo

from dynamodb_processor_client import Query, QueryClient, ResumePolicy, Unauthenticated
from tests.support.fake_service import Cut, Failure, FakeService
from tests.support.threaded_client import ClientFactory
from tests.unit.client.fake_time import FakeTime

_EXPIRED = Failure(
    grpc.StatusCode.UNAUTHENTICATED,
    "the bearer token has expired",
    (ErrorInfo(reason="BEARER_TOKEN_EXPIRED", domain="dynamodb-processor"),),
)


def opened(
    make_client: ClientFactory, service: FakeService, time: FakeTime, **credential: Any
) -> QueryClient:
    """Return a client that resumes at once."""
    policy = ResumePolicy(sleep=time.sleep, uniform=lambda: 0.5, clock=time.read)
    return make_client(
        service.address, resume=policy, options=[("grpc.enable_retries", 0)], **credential
    )


def sent(service: FakeService) -> list[Any]:
    """Return the credential of each call so far."""
    return [metadata.get("authorization") for metadata in service.metadata]


async def test_a_token_is_sent_with_every_call(
    make_client: ClientFactory, service: FakeService, time: FakeTime
) -> None:
    """It is a bearer token, and no API key."""
    async with opened(make_client, service, time, token="a.b.c") as client:
        await client.query(Query("numbers"))
        await anext(client.stream(Query("numbers")))
        await client.tables()
    assert sent(service) == ["Bearer a.b.c"] * 3
    assert not any("x-api-key" in metadata for metadata in service.metadata)


@pytest.mark.parametrize(
    ("make_client", "is_async"),
    [("async", False), ("async", True), ("sync", False)],
    indirect=["make_client"],
)
async def test_a_function_gives_the_token_of_each_call(
    make_client: ClientFactory, service: FakeService, time: FakeTime, is_async: bool
) -> None:
    """It may be a coroutine function, such as one that asks the issuer."""
    numbers: Iterator[int] = count()

    def give() -> str:
        return f"t.{next(numbers)}.s"

    async def give_later() -> str:
        return give()

    async with opened(make_client, service, time, token=give_later if is_async else give) as client:
        for _ in range(2):
            await client.query(Query("numbers"))
        await anext(client.stream(Query("numbers")))
    assert sent(service) == [f"Bearer t.{number}.s" for number in range(3)]


async def test_a_stream_whose_token_expires_is_resumed_with_another(
    make_client: ClientFactory, service: FakeService, time: FakeTime
) -> None:
    """No item is lost or repeated."""
    numbers = count()
    service.cuts.append(Cut(3, _EXPIRED))
    async with opened(make_client, service, time, token=lambda: f"t.{next(numbers)}.s") as client:
        items = [int(item["n"]) async for item in client.stream(Query("numbers"), page_size=100)]
    assert items == list(range(1_000))
    assert sent(service) == ["Bearer t.0.s", "Bearer t.1.s"]


async def test_a_fixed_token_is_not_tried_again(
    make_client: ClientFactory, service: FakeService, time: FakeTime
) -> None:
    """Nor is a token that is refused for another reason."""
    service.cuts.append(Cut(3, _EXPIRED))
    async with opened(make_client, service, time, token="a.b.c") as client:
        stream = client.stream(Query("numbers"), page_size=100)
        with pytest.raises(Unauthenticated) as caught:
            [item async for item in stream]
    assert caught.value.reason == "BEARER_TOKEN_EXPIRED"
    assert caught.value.resume_token


@pytest.mark.parametrize("make_client", ["async"], indirect=True)  # one is a coroutine function
async def test_an_error_of_the_function_is_the_call_s(
    make_client: ClientFactory, service: FakeService, time: FakeTime
) -> None:
    """Nothing is sent then."""

    def give() -> str:
        raise LookupError("no login")

    async def give_nothing() -> Any:
        return None

    async with opened(make_client, service, time, token=give) as client:
        with pytest.raises(LookupError, match="no login"):
            await client.query(Query("numbers"))
    async with opened(make_client, service, time, token=give_nothing) as client:
        with pytest.raises(TypeError, match="token is a string, not a NoneType"):
            await anext(client.stream(Query("numbers")))
    assert sent(service) == []


@pytest.mark.parametrize(
    ("credential", "error", "text"),
    [
        ({"token": "a\n"}, ValueError, "the bearer token has characters"),
        ({"token": ""}, ValueError, "token: the bearer token is empty"),
        ({"token": 5}, TypeError, "token is a string, not a int"),
        ({"token": "a", "api_key": "b"}, ValueError, "give api_key or token, not both"),
    ],
)
def test_wrong_credentials_are_refused(
    credential: dict[str, Any], error: type[Exception], text: str
) -> None:
    """The error names the argument."""
    with pytest.raises(error, match=text):
        QueryClient("localhost:1", **credential)
