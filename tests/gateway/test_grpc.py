"""gRPC-Web and plain gRPC pass through the gateway, with their own form of errors."""

from __future__ import annotations

import base64
import re
import struct
from collections.abc import Iterator
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from google.rpc.status_pb2 import Status

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
    StreamQueryResponse,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from tests.gateway.conftest import ORIGIN
from tests.support.gateway import Answer, Gateway, running_gateway
from tests.support.lengths import PATIENCE

_SERVICE: Final = "/dynamodb_processor.v1.QueryService"
_SPEC: Final = QuerySpec(table="events", expression="user_id = 'u-1'")
_BAD: Final = QuerySpec(table="events", expression="user_id = ")
_TRAILERS: Final = 0x80  # The flag of the frame that holds the trailers.


def _call(gateway: Gateway, method: str, request: Message, *, text: bool = False) -> Answer:
    """Make a call of gRPC-Web, in its binary form or in base64."""
    content = request.SerializeToString()
    body = struct.pack(">BI", 0, len(content)) + content
    kind = "application/grpc-web-text" if text else "application/grpc-web+proto"
    headers = {"content-type": kind, "x-grpc-web": "1", "origin": ORIGIN, "accept": kind}
    return gateway.post(f"{_SERVICE}/{method}", base64.b64encode(body) if text else body, headers)


def _frames(content: bytes) -> Iterator[tuple[int, bytes]]:
    while content:
        flags, length = struct.unpack(">BI", content[:5])
        yield flags, content[5 : 5 + length]
        content = content[5 + length :]


def _trailers(content: bytes) -> dict[str, str]:
    lines = content.decode().strip().splitlines()
    return {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


@pytest.mark.parametrize("text", [False, True])
def test_a_call_of_grpc_web(gateway: Gateway, *, text: bool) -> None:
    """The answer is a message and a frame with the status, as browsers can read them."""
    answer = _call(gateway, "Query", QueryRequest(query=_SPEC, page_size=2), text=text)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    content = answer.content
    if text:  # Each part of the answer has a padding of its own.
        content = b"".join(map(base64.b64decode, re.findall(rb"[^=]+=*", content)))
    (_, message), (flags, trailers) = _frames(content)
    page = QueryResponse.FromString(message)
    assert [item.attributes["seq"].n for item in page.items] == ["0", "1"]
    assert flags == _TRAILERS
    assert _trailers(trailers)["grpc-status"] == "0"


def test_a_stream_of_grpc_web(gateway: Gateway) -> None:
    """Each message is a frame, and the last one is marked."""
    answer = _call(gateway, "StreamQuery", StreamQueryRequest(query=_SPEC, page_size=15))
    *messages, (flags, trailers) = _frames(answer.content)
    pages = [StreamQueryResponse.FromString(message) for _, message in messages]
    assert sum(len(page.items) for page in pages) == 40
    assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
    assert (flags, _trailers(trailers)["grpc-status"]) == (_TRAILERS, "0")


def test_a_failed_call_of_grpc_web(gateway: Gateway) -> None:
    """The status and its details are in the headers, which the browser may read."""
    answer = _call(gateway, "Query", QueryRequest(query=_BAD))
    assert (answer.status, answer.headers["grpc-status"]) == (200, "3")
    packed = answer.headers["grpc-status-details-bin"]
    status = Status.FromString(base64.b64decode(packed + "=="))
    info, violations = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(violations)
    assert info.reason == "INVALID_REQUEST"
    assert violations.field_violations[0].field == "query.expression"


async def test_plain_grpc(gateway: Gateway) -> None:
    """A gRPC client may use the gateway's port as well."""
    metadata = tuple(gateway.headers.items())
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stub = QueryServiceStub(channel)
        request = QueryRequest(query=_SPEC, page_size=1)
        page = await stub.Query(request, metadata=metadata, timeout=PATIENCE)
        assert len(page.items) == 1
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.Query(QueryRequest(query=_BAD), metadata=metadata, timeout=PATIENCE)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        call: Any = channel.unary_unary("/nothing.v1.Service/Method")
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await call(b"", timeout=PATIENCE)
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert unknown.value.details() == "there is no such method"


async def test_grpc_without_a_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Both forms of gRPC get UNAVAILABLE with a text that is no JSON."""
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, "127.0.0.1:9", ready=False, allow_origins=[ORIGIN]) as gateway:
        answer = _call(gateway, "Query", QueryRequest(query=_SPEC))
        assert (answer.status, answer.headers["grpc-status"]) == (503, "14")
        assert "{" not in answer.headers["grpc-message"]
        async with grpc.aio.insecure_channel(gateway.address) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await QueryServiceStub(channel).Query(QueryRequest(), timeout=PATIENCE)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "{" not in (refused.value.details() or "")
