"""Messages, failures and deadlines between the gateway and a server that a test controls."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo

from dynamodb_processor.v1.query_service_pb2 import CountItemsRequest, CountItemsResponse
from gateway.options import Address
from tests.gateway.gateways import gateway_before, post
from tests.support.fake_service import Context, Cut, Failure, FakeService, numbered
from tests.support.gateway import Answer, Gateway
from tests.support.lengths import PATIENCE
from tests.support.processes import free_port
from tests.support.ready_fake import ready
from tests.support.running import eventually

_QUERY: Final = "/v1/tables/numbers:query"
_STREAM: Final = "/v1/tables/numbers:stream"
_BROKEN: Final = Failure(grpc.StatusCode.UNAVAILABLE, "the server is shutting down")


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[tuple[FakeService, Gateway]]:
    """A service with 250 numbers, and a gateway before it."""
    service = FakeService(items=numbered(250))
    async with ready(service), gateway_before(tmp_path, service) as gateway:
        yield service, gateway


async def test_failures_become_json(fake: tuple[FakeService, Gateway]) -> None:
    """Each status has HTTP's usual one, the text and the details; also one without details."""
    service, gateway = fake
    info = ErrorInfo(reason="OVERLOADED", domain="dynamodb-processor")
    wait = RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    trailers = (("grpc-retry-pushback-ms", "1500"), ("x-request-id", "theirs"))
    statuses = {
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.FAILED_PRECONDITION: 400,
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.INTERNAL: 500,
        grpc.StatusCode.UNIMPLEMENTED: 501,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    }
    for code, status in statuses.items():
        service.failures.append(Failure(code, "grün: no", (info, wait), trailers))
        answer = await post(gateway, _QUERY)
        assert answer.refusal == (status, code.value[0], "OVERLOADED")
        assert answer.json["message"] == "grün: no"
        assert answer.json["details"][1]["retryDelay"] == "1.500s"
        assert answer.headers["retry-after"] == "2"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            continue  # The gateway adds the details: see below.
        service.failures.append(Failure(code, "no details"))
        plain = await post(gateway, _QUERY)
        expected = {"code": code.value[0], "message": "no details", "details": []}
        assert (plain.status, plain.json) == (status, expected)


async def test_a_deadline_is_passed_on(fake: tuple[FakeService, Gateway]) -> None:
    """The header of gRPC sets the deadline of a JSON request; without it the server has its own."""
    service, gateway = fake
    await post(gateway, _QUERY, headers={"grpc-timeout": "50S"})
    await post(gateway, _QUERY)
    assert service.deadlines[0] is not None
    assert 0 < service.deadlines[0] <= 50
    assert service.deadlines[1] in {None, math.inf}


async def test_a_deadline_that_passes_has_details(tmp_path: Path) -> None:
    """A call that gRPC ends at its deadline has a reason and a remedy; a stream its messages."""
    service = _SilentService(items=numbered(250), hang_after=1)
    soon = {"grpc-timeout": "100m"}
    async with ready(service), gateway_before(tmp_path, service) as gateway:
        silent = await post(gateway, "/v1/tables/numbers:count", headers=soon)
        stream = await post(gateway, _STREAM, headers=soon)
    assert silent.refusal == (504, 4, "DEADLINE_EXCEEDED")
    assert silent.json["message"].endswith("allow more time, or narrow the query")
    assert [line["last"] for line in stream.lines] == [False]


async def test_headers_that_reach_the_server(fake: tuple[FakeService, Gateway]) -> None:
    """Keys and ids do; cookies and promises of gRPC's own protocol do not."""
    service, gateway = fake
    passed = {"x-api-key": "ddbp_x", "x-request-id": "mine", "traceparent": "00-1-2-01"}
    dropped = {"cookie": "a=b", "grpc-encoding": "gzip", "grpc-accept-encoding": "gzip"}
    await post(gateway, _QUERY, headers=passed | dropped)
    (metadata,) = service.metadata
    assert metadata.items() >= passed.items()
    assert not metadata.keys() & dropped.keys()


async def test_a_stream_that_breaks_has_no_last_line(fake: tuple[FakeService, Gateway]) -> None:
    """HTTP says 200 and ends properly, so only `last` tells; the trailers have the status too."""
    service, gateway = fake
    service.cuts.extend([Cut(2, _BROKEN), Cut(2, None), Cut(0, _BROKEN)])
    broken, silent = await post(gateway, _STREAM), await post(gateway, _STREAM)
    for each in (broken, silent):
        assert each.status == 200
        assert [line["last"] for line in each.lines] == [False, False]
    refused = await post(gateway, _STREAM)
    assert (refused.status, refused.json["code"]) == (503, 14)
    token = broken.lines[-1]["resumeToken"]
    rest = (await post(gateway, _STREAM, {"resumeToken": token})).lines
    assert [line["last"] for line in rest] == [True]
    items = [item for message in (*broken.lines, *rest) for item in message["items"]]
    numbers = [int(item["attributes"]["n"]["n"]) for item in items]
    assert numbers == list(range(250))


async def test_trailers_tell_how_a_stream_ended(fake: tuple[FakeService, Gateway]) -> None:
    """Clients of HTTP/1.1 that read trailers see gRPC's status behind the last chunk."""
    service, gateway = fake
    service.cuts.append(Cut(1, _BROKEN))
    host, _, port = gateway.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {_STREAM} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
    writer.write(f"{head}content-length: 2\r\nconnection: close\r\n\r\n{{}}".encode())
    received = (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
    writer.close()
    assert received.partition("\r\n0\r\n")[2].splitlines()[:2] == [
        "grpc-status: 14",
        f"grpc-message: {_BROKEN.message}",
    ]


async def test_a_lost_server_breaks_the_body(tmp_path: Path) -> None:
    """If the connection to the server is lost in a stream, the body is visibly incomplete."""
    service = FakeService(items=numbered(250), hang_after=1)
    async with ready(service) as servers, gateway_before(tmp_path, service) as gateway:
        stream = asyncio.create_task(post(gateway, _STREAM))
        await eventually(lambda: service.stream_requests)
        await servers[0].stop(grace=None)
        with contextlib.suppress(http.client.IncompleteRead):
            assert [line["last"] for line in (await stream).lines] == [False]
        gone = await asyncio.to_thread(_until_unavailable, gateway)
        assert gone.refusal == (503, 14, "UPSTREAM_UNAVAILABLE")
        assert gone.json["message"] == "no server can be reached: try again later"


def _until_unavailable(gateway: Gateway) -> Answer:
    gateway.wait_until_ready(503)
    return gateway.post(_QUERY, {})


async def test_a_server_with_a_name_and_a_log_of_requests(tmp_path: Path) -> None:
    """Servers are found by name, and the log has no query string, which may hold a page token."""
    service = FakeService(items=numbered(3))
    async with ready(service):
        named = FakeService([], service.address.replace("127.0.0.1", "localhost"))
        admin = Address("127.0.0.1", free_port())
        async with gateway_before(tmp_path, named, access_log=True, admin=admin) as gateway:
            assert len((await post(gateway, _QUERY)).json["items"]) == 3
            await asyncio.to_thread(gateway.get, "/v1/tables?page_token=secret", authorization="k")
    text = gateway.log.read_text(encoding="utf-8")
    records = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    (query,) = [record for record in records if record["path"] == _QUERY]
    assert (query["method"], query["status"], query["server"]) == ("POST", 200, service.address)
    assert query["request_id"]
    assert "/v1/tables" in {record["path"] for record in records}
    assert "secret" not in text


class _SilentService(FakeService):
    """A service whose counts never end."""

    async def CountItems(  # noqa: N802 - the contract's name
        self, request: CountItemsRequest, context: Context
    ) -> CountItemsResponse:
        """Wait for ever."""
        await asyncio.Event().wait()
        raise AssertionError


async def test_nothing_hangs(tmp_path: Path) -> None:
    """A silent server, a stream that stops and a request that never arrives end with their time."""
    service = _SilentService(items=numbered(250), hang_after=1)
    async with ready(service), gateway_before(tmp_path, service, seconds=1.0) as gateway:
        silent = await post(gateway, "/v1/tables/numbers:count")
        assert silent.refusal == (504, 4, "UPSTREAM_TIMEOUT")
        with contextlib.suppress(http.client.IncompleteRead):
            assert [line["last"] for line in (await post(gateway, _STREAM)).lines] == [False]
        await asyncio.wait_for(service.left.wait(), PATIENCE)
        host, _, port = gateway.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        head = f"POST {_QUERY} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: 2\r\n\r\n{{".encode())
        received = (await asyncio.wait_for(reader.read(), PATIENCE)).decode()
        writer.close()
    assert received.startswith("HTTP/1.1 408 ")
    assert '"reason":"REQUEST_TIMEOUT"' in received


async def test_without_a_server_every_route_says_so(tmp_path: Path) -> None:
    """Every route is refused at once, and unknown ones are still unknown."""
    async with gateway_before(tmp_path, FakeService([], "127.0.0.1:9"), ready=False) as gateway:
        assert (await post(gateway, _QUERY)).refusal == (503, 14, "UPSTREAM_UNAVAILABLE")
        assert (await post(gateway, _STREAM)).refusal == (503, 14, "UPSTREAM_UNAVAILABLE")
        tables = await asyncio.to_thread(gateway.get, "/v1/tables")
        assert tables.refusal == (503, 14, "UPSTREAM_UNAVAILABLE")
        assert (await asyncio.to_thread(gateway.get, "/v1/nothing")).status == 404
