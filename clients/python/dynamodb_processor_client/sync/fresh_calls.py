# Written by `make proto` from the asynchronous client's `fresh_calls.py`. Do not edit.
"""Unary calls that send the bounds of their operation, and record the token of the answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    QueryRequest,
)
from dynamodb_processor_client.errors import InvalidArgument
from dynamodb_processor_client.freshness import OperationTokens
from dynamodb_processor_client.sync.deadlines import Deadline


class _Answer(Protocol):
    freshness_token: str


_Request = TypeVar("_Request", QueryRequest, CountItemsRequest, BatchGetItemsRequest)
_Response = TypeVar("_Response", bound=_Answer)


def call_with_bounds(
    tokens: OperationTokens,
    clock: Callable[[], float],
    call: Callable[[_Request, float | None], _Response],
    request: _Request,
    seconds: float | None,
) -> _Response:
    """Return the answer to a request, within `seconds` of `clock`.

    If the service cannot read a session's tokens any more, the call is made again without them.
    """
    deadline = Deadline(seconds, clock)
    tokens.apply_to(request)
    try:
        response = call(request, seconds)
    except InvalidArgument as error:
        if not tokens.replace_unreadable(error):
            raise
        tokens.apply_to(request)
        response = call(request, deadline.remaining(0.0, ""))
    tokens.record(response.freshness_token)
    return response
