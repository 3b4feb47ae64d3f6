"""The status of a bad request says whose fault it is, and its details name the field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import grpc
import pytest

from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_pb2 import (
    CacheMode,
    CachePolicy,
    Order,
    QuerySpec,
)
from dynamodb_processor.v1.query_service_pb2 import (
    QueryRequest,
    QueryResponse,
    StreamQueryRequest,
)
from dynamodb_processor.v1.value_pb2 import AttributeValue
from tests.support.channels import (
    SEEN,
    Caller,
    error_info,
    open_caller,
    recording,
    status_of,
    violated_fields,
)
from tests.support.event_service import EXPIRED, NARROW, READER
from tests.support.events import USERS
from tests.support.invalid_requests import EQUALITY, INVALID, query_spec, request_for, request_with
from tests.support.processes import ServerProcess

Code = grpc.StatusCode


async def _error(caller: Caller, request: QueryRequest) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.query(request)
    return caught.value


@pytest.mark.parametrize("violation", INVALID)
async def test_invalid_requests(caller: Caller, violation: str) -> None:
    """An invalid request is INVALID_ARGUMENT, and the error names the field."""
    request, field = INVALID[violation]
    error = await _error(caller, request)
    assert error.code() is Code.INVALID_ARGUMENT, error
    assert error_info(error).reason == "INVALID_REQUEST"
    assert error_info(error).domain == "dynamodb-processor"
    assert violated_fields(error) == [field], error.details()
    assert status_of(error).ByteSize() < 4096


@pytest.mark.parametrize("violation", ["negative page size", "broken expression", "unknown index"])
async def test_invalid_streams(caller: Caller, violation: str) -> None:
    """A stream refuses the same requests before its first message."""
    request, field = INVALID[violation]
    stream = caller.stream(StreamQueryRequest(query=request.query, page_size=request.page_size))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(stream)
    assert violated_fields(caught.value) == [field]


async def test_all_violations_at_once(caller: Caller) -> None:
    """One answer names every invalid field."""
    query = QuerySpec(expression="a =", order=7, projection=["x["], max_items=-1)  # type: ignore[arg-type]
    error = await _error(caller, QueryRequest(query=query, page_size=-1))
    assert sorted(violated_fields(error)) == [
        "page_size",
        "query.expression",
        "query.max_items",
        "query.order",
        "query.projection[0]",
        "query.table",
    ]


async def test_expression_errors_name_the_column(caller: Caller) -> None:
    """A syntax error in the expression is reported with its column."""
    error = await _error(caller, request_for("user_id = 'u-1' AND seq >> 5"))
    assert "column 26" in (error.details() or "")


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field as it is on the wire; content under 128 bytes."""
    return bytes((number << 3 | 2, len(content))) + content


@pytest.mark.parametrize(
    ("within", "unknown"),
    [
        ("query", query_spec().SerializeToString() + _field(2, b"\x0a\x01a")),
        ("query", query_spec().SerializeToString() + b"\x78\x01"),
        (
            "query.parameters['v']",
            query_spec(EQUALITY + " AND a = :v").SerializeToString()
            + _field(4, _field(1, b"v") + _field(2, _field(1, b"x") + b"\x78\x01")),
        ),
    ],
    ids=["reserved field", "field of the future", "field inside a value"],
)
async def test_unknown_fields(caller: Caller, within: str, unknown: bytes) -> None:
    """A restriction that this server does not know is an error."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.raw("Query", _field(1, unknown))
    assert caught.value.code() is Code.INVALID_ARGUMENT
    assert violated_fields(caught.value) == [within]


async def test_unknown_field_beside_the_query(caller: Caller) -> None:
    """An unknown field outside the query restricts nothing and is ignored."""
    request = _field(1, query_spec().SerializeToString()) + b"\xf8\x06\x01"
    assert QueryResponse.FromString(await caller.raw("Query", request)).items


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", _field(1, _field(1, b"\xff\xfe"))])
async def test_bytes_that_are_no_message(caller: Caller, garbage: bytes) -> None:
    """Bytes that cannot be parsed are refused without details of the server's code."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await caller.raw("Query", garbage)
    assert caught.value.code() in (Code.INVALID_ARGUMENT, Code.INTERNAL)
    assert not SEEN[-1].tells_insides


async def test_request_over_a_mebibyte(caller: Caller) -> None:
    """A request over 1 MiB is refused by gRPC itself."""
    huge = AttributeValue(s="x" * (1024 * 1024))
    error = await _error(caller, request_with(huge))
    assert error.code() is Code.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "key", [None, "", "x", "ddbp_" + "A" * 43, EXPIRED.text, READER.text + "x"]
)
async def test_invalid_keys(caller: Caller, key: str | None) -> None:
    """Without a valid key every method answers UNAUTHENTICATED."""
    error = await _error(caller.using(key), request_for())
    assert error.code() is Code.UNAUTHENTICATED
    assert error_info(error).reason == "UNAUTHENTICATED"
    with pytest.raises(grpc.aio.AioRpcError) as caught, recording("ListTables"):
        await caller.catalog.ListTables(ListTablesRequest(), metadata=caller.using(key).metadata)
    assert caught.value.code() is Code.UNAUTHENTICATED


async def test_bearer_key(caller: Caller) -> None:
    """A key in `authorization: Bearer` is accepted."""
    bearer = caller.using(None)
    bearer.metadata.append(("authorization", f"Bearer {READER.text}"))
    assert (await bearer.query(request_for())).items


@pytest.fixture
async def narrow(service: ServerProcess) -> AsyncIterator[Caller]:
    """A caller that may read `events`, and `ghost`, which does not exist."""
    async with open_caller(service.address, NARROW.text) as opened:
        yield opened


@pytest.mark.parametrize("table", ["copies", "e2e-events", "no-such-table"])
async def test_permission_comes_before_existence(narrow: Caller, table: str) -> None:
    """A table without a grant is refused in the same words whether it exists or not."""
    error = await _error(narrow, request_for(table=table))
    assert error.code() is Code.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as caught, recording("GetTable"):
        await narrow.catalog.GetTable(GetTableRequest(table=table), metadata=narrow.metadata)
    assert caught.value.code() is Code.PERMISSION_DENIED


@pytest.mark.parametrize("table", ["ghost", "e2e-ghost"])
async def test_granted_table_that_does_not_exist(
    caller: Caller, narrow: Caller, table: str
) -> None:
    """A granted name without a table is NOT_FOUND, in the catalog or by a pattern."""
    granted = narrow if table == "ghost" else caller
    error = await _error(granted, request_for(table=table))
    assert error.code() is Code.NOT_FOUND


PRECONDITIONS: Final[dict[str, tuple[QueryRequest, str]]] = {
    "no partition key": (request_for("action = 'login'"), "SCAN_NOT_ALLOWED"),
    "no expression": (request_for(""), "SCAN_NOT_ALLOWED"),
    "partition key in an OR": (
        request_for("user_id = 'u-1' OR action = 'x'"),
        "SCAN_NOT_ALLOWED",
    ),
    "index that does not fit": (request_for(index="by_system"), "INDEX_NOT_USABLE"),
    "table that does not fit": (
        request_for("system_id = 's-1'", index="@table"),
        "INDEX_NOT_USABLE",
    ),
    "not in the cache": (
        QueryRequest(
            query=query_spec("user_id = 'nobody'"),
            cache=CachePolicy(mode=CacheMode.CACHE_MODE_ONLY_IF_CACHED),
        ),
        "NOT_CACHED",
    ),
}


@pytest.mark.parametrize("case", PRECONDITIONS)
async def test_preconditions(caller: Caller, case: str) -> None:
    """A valid request that the server cannot serve names the obstacle."""
    request, reason = PRECONDITIONS[case]
    error = await _error(caller, request)
    assert error.code() is Code.FAILED_PRECONDITION
    assert error_info(error).reason == reason


async def test_scan_refusal_names_the_keys(caller: Caller) -> None:
    """The refusal of a scan names the partition keys that would make the query servable."""
    details = (await _error(caller, request_for("action = 'login'"))).details() or ""
    assert "user_id" in details
    assert "system_id" in details


async def test_page_size_over_the_maximum(caller: Caller) -> None:
    """A page size over the table's maximum is lowered to it, and 0 is the default."""
    big = await caller.query(
        QueryRequest(query=query_spec("user_id = 'u-long'"), page_size=2**31 - 1)
    )
    assert len(big.items) == 1_000
    usual = await caller.query(QueryRequest(query=query_spec("user_id = 'u-long'")))
    assert len(usual.items) == 100


async def test_valid_requests_after_all_that(caller: Caller, service: ServerProcess) -> None:
    """The server still serves valid requests."""
    for user in USERS[:3]:
        page = await caller.query(request_for(f"user_id = '{user}'", order=Order.ORDER_DESCENDING))
        assert page.items[0].attributes["seq"].n == "39"
    assert service.returncode is None
