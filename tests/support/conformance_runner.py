"""Makes the calls of the conformance kit through the Python client."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any, Final

import grpc
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from dynamodb_processor.v1 import query_pb2
from dynamodb_processor.v1.catalog_service_pb2 import GetTableRequest, ListTablesRequest
from dynamodb_processor.v1.query_pb2 import QuerySpec
from dynamodb_processor.v1.query_service_pb2 import (
    BatchGetItemsRequest,
    CountItemsRequest,
    ExplainQueryRequest,
    QueryRequest,
    StreamQueryRequest,
)
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_client import Budget, CacheMode, CachePolicy, Query, QueryError
from dynamodb_processor_client.errors import typed_errors
from tests.support.conformance import Case, KitServer
from tests.support.conformance_checks import python_value, typed
from tests.support.conformance_faces import Collected, Face

_REQUESTS: Final[Mapping[str, type[Message]]] = {
    "query": QueryRequest,
    "pages": StreamQueryRequest,
    "stream": StreamQueryRequest,
    "count": CountItemsRequest,
    "get": BatchGetItemsRequest,
    "explain": ExplainQueryRequest,
    "tables": ListTablesRequest,
    "table": GetTableRequest,
}
_RAW_METHODS: Final = {"query": "Query", "count": "CountItems"}


async def outcome_of(case: Case, face: Face, server: KitServer) -> Any:
    """Make the calls of a case, and return the last result or the error."""
    request = ParseDict(case.request, _REQUESTS[case.call]())
    if case.session:
        face = face.in_session()
    try:
        for _ in range(case.repeat - 1):
            await _call(case, request, face, server)
        return await _call(case, request, face, server)
    except QueryError as error:
        return error
    except (TypeError, ValueError) as error:
        if case.expect.get("error", {}).get("clientMayRefuse"):
            return error
        raise


async def _call(case: Case, request: Any, face: Face, server: KitServer) -> Any:
    options: dict[str, Any] = {} if case.timeout is None else {"timeout": case.timeout}
    if case.raw:
        return await _call_raw(case, request, server)
    match case.call:
        case "tables":
            return await face.call(case.caller, "tables")
        case "table":
            return await face.call(case.caller, "table", request.table)
        case "get":
            keys = [python_value(key)["attributes"] for key in case.request["keys"]]
            options |= {"projection": list(request.projection)}
            options |= {"consistent": _is_consistent(request.consistency), **_limits(request)}
            return await face.call(case.caller, "get", request.table, keys, **options)
        case "explain":
            return await face.call(case.caller, "explain", query_of(case, request.query))
        case "pages" | "stream":
            options |= _stream_options(request)
            options["resume_token"] = _token(case, server) or request.resume_token
            query = query_of(case, request.query)
            return await face.collect(case.caller, case.call, query, **options)
    return await _follow(case, request, face, server, options)


async def _follow(
    case: Case, request: Any, face: Face, server: KitServer, options: dict[str, Any]
) -> Any:
    """Return a count, or the pages of `query`: one, or all if the case follows the tokens."""
    is_count = case.call == "count"
    options |= _count_options(request) if is_count else _stream_options(request)
    query = query_of(case, request.query)
    token = _token(case, server) or request.page_token
    results: list[Any] = []
    while not results or (token and case.follow):
        results.append(await face.call(case.caller, case.call, query, page_token=token, **options))
        token = results[-1].next_page_token
    last = results[-1]
    return last if is_count else Collected(results, token, last.total, last.freshness_token)


async def _call_raw(case: Case, request: Any, server: KitServer) -> Any:
    """Send a message that the client's arguments cannot express."""
    key = server.credentials[case.caller]
    async with grpc.aio.insecure_channel(server.address) as channel:
        method = getattr(QueryServiceStub(channel), _RAW_METHODS[case.call])
        with typed_errors():
            return await method(request, metadata=key.metadata if key else ())


def _token(case: Case, server: KitServer) -> str:
    return server.page_tokens[case.tokenFrom] if case.tokenFrom else ""


def query_of(case: Case, spec: QuerySpec) -> Query:
    """Return the query of a request."""
    parameters = case.request["query"].get("parameters", {})
    return Query(
        spec.table,
        spec.expression,
        parameters={name: python_value(value) for name, value in parameters.items()},
        index=spec.index or None,
        descending={0: False, 1: False, 2: True}[spec.order],
        projection=list(spec.projection),
        consistent=_is_consistent(spec.consistency),
        max_items=spec.max_items if spec.HasField("max_items") else None,
    )


def _is_consistent(consistency: int) -> bool:
    return {0: False, 1: False, 2: True}[consistency]


def _stream_options(request: QueryRequest | StreamQueryRequest) -> dict[str, Any]:
    options = {"page_size": request.page_size, **_limits(request)}
    if request.HasField("total"):
        bounded = request.total.mode == query_pb2.TOTAL_MODE_BOUNDED
        options["total"] = request.total.up_to if bounded else "exact"
    return options


def _count_options(request: CountItemsRequest) -> dict[str, Any]:
    bounded = request.total.mode == query_pb2.TOTAL_MODE_BOUNDED
    return {"up_to": request.total.up_to if bounded else None, **_limits(request)}


def _limits(
    request: QueryRequest | StreamQueryRequest | CountItemsRequest | BatchGetItemsRequest,
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if request.HasField("budget"):
        budget = request.budget
        options["budget"] = Budget(
            budget.max_scanned_items if budget.HasField("max_scanned_items") else None,
            budget.max_read_units if budget.HasField("max_read_units") else None,
            budget.max_duration.ToTimedelta() if budget.HasField("max_duration") else None,
        )
    if request.HasField("cache"):
        policy = request.cache
        staleness = policy.max_staleness.ToTimedelta() if policy.HasField("max_staleness") else None
        bound = policy.not_before.ToDatetime(UTC) if policy.HasField("not_before") else None
        mode = CacheMode(policy.mode or CacheMode.DEFAULT.value)
        options["cache"] = CachePolicy(mode, staleness, bound, policy.not_before_token)
    return options


async def check_resumption(case: Case, face: Face, pages: Collected) -> None:
    """Continue at each boundary of the pages, by `pages` and by `query`."""
    request = ParseDict(case.request, StreamQueryRequest())
    query, options = query_of(case, request.query), _stream_options(request)
    for number, page in enumerate(pages.results, 1):
        token = page.next_page_token
        if not token:
            continue
        rest = [typed(item) for later in pages.results[number:] for item in later.items]
        stream = await face.collect(case.caller, "pages", query, resume_token=token, **options)
        assert [typed(item) for item in stream.items] == rest, f"after page {number}"
        got: list[Any] = []
        while token:
            answer = await face.call(case.caller, "query", query, page_token=token, **options)
            got += map(typed, answer.items)
            # Later boundaries check the tokens that follow.
            token = answer.next_page_token if number == 1 else ""
        assert got == rest[: len(got)], f"after page {number}"
        assert got or not rest, f"after page {number}"
        assert number > 1 or len(got) == len(rest)
