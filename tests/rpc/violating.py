"""Requests that violate the contract, and their refusals."""

from __future__ import annotations

from typing import Any

import grpc

from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    ExplainQueryRequest,
    QueryRequest,
    StreamQueryRequest,
)
from tests.rpc.data import VIKTOR
from tests.support.lengths import PATIENCE
from tests.support.running import Refusal, Service, query_spec, refused

Request = (
    QueryRequest
    | StreamQueryRequest
    | CountItemsRequest
    | BatchGetItemsRequest
    | ExplainQueryRequest
)
_UNKNOWN_FIELD = b"\xfa\x3e\x01x"  # field 1007, a string


async def refusal(service: Service, request: Request) -> Refusal:
    """Return the refusal of a request, which must be INVALID_ARGUMENT."""
    method: Any = getattr(service.queries, type(request).__name__.removesuffix("Request"))
    call = method(request, metadata=service.metadata(), timeout=PATIENCE)
    found = await refused(call.read() if isinstance(request, StreamQueryRequest) else call)
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert found.reason == "INVALID_REQUEST"
    return found


def good(**fields: Any) -> QuerySpec:
    """Return a query that is valid but for `fields`."""
    return query_spec("events", "user_id = :u", parameters={"u": VIKTOR}, **fields)


def unknown(message: Any) -> Any:
    """Return a message of the same type with an additional field that this server does not know."""
    return type(message).FromString(message.SerializeToString() + _UNKNOWN_FIELD)
