"""Tests that the channel balances, fails over and encrypts."""

from __future__ import annotations

import asyncio

import grpc

from dynamodb_processor_client import Query
from tests.support.certificates import issue
from tests.support.fake_server import running
from tests.support.fake_service import BROKEN, FakeService, numbered
from tests.support.threaded_client import ClientFactory


async def test_calls_go_to_every_replica(make_client: ClientFactory) -> None:
    """The calls of one client are spread over the addresses of its target."""
    first, second = (FakeService(items=numbered(10)) for _ in range(2))
    async with (
        running(first),
        running(second),
        make_client(f"ipv4:{first.address},{second.address}") as client,
    ):
        while not (first.requests and second.requests):
            await client.query(Query("numbers"))
        before = len(first.requests), len(second.requests)
        for _ in range(20):
            await client.query(Query("numbers"))
    assert len(first.requests) - before[0] == 10
    assert len(second.requests) - before[1] == 10


async def test_a_stream_outlives_its_replica(make_client: ClientFactory) -> None:
    """If the server of a stream stops, the stream continues at another."""
    first, second = (FakeService(items=numbered(1_000), hang_after=3) for _ in range(2))
    async with (
        running(first) as first_server,
        running(second) as second_server,
        make_client(f"ipv4:{first.address},{second.address}") as client,
    ):
        stream = client.stream(Query("numbers"), page_size=100)
        received = [int((await anext(stream))["n"]) for _ in range(300)]
        if first.stream_requests:
            lost, second.hang_after = first_server, None
        else:
            lost, first.hang_after = second_server, None
        await lost.stop(grace=None)
        received += [int(item["n"]) async for item in stream]
    assert received == list(range(1_000))
    assert len(first.stream_requests) == len(second.stream_requests) == 1


async def test_many_calls_that_fail_at_once_are_all_retried(make_client: ClientFactory) -> None:
    """All calls in progress at a stopping replica are retried at another."""
    service = FakeService(items=numbered(10))
    service.failures += [BROKEN] * 40
    async with running(service), make_client(service.address) as client:
        pages = await asyncio.gather(*(client.query(Query("numbers")) for _ in range(40)))
    assert [len(page.items) for page in pages] == [10] * 40


async def test_tls(make_client: ClientFactory) -> None:
    """With credentials the channel is encrypted, and sends the API key as well."""
    certificate = issue("localhost")
    service = FakeService(items=numbered(10))
    async with (
        running(service, grpc.ssl_server_credentials([(certificate.key, certificate.pem)])),
        make_client(
            service.address,
            api_key="ddbp_test",
            credentials=grpc.ssl_channel_credentials(certificate.pem),
            options=[("grpc.ssl_target_name_override", "localhost")],
        ) as client,
    ):
        assert len((await client.query(Query("numbers"))).items) == 10
    assert service.metadata[0]["x-api-key"] == "ddbp_test"
