"""Tests of the error table: the status of each of the domain's errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from dynamodb_processor.v1.query_service_pb2 import QueryRequest, QueryResponse
from dynamodb_processor.v1.query_service_pb2_grpc import QueryServiceStub
from dynamodb_processor_server import errors
from dynamodb_processor_server.rpc.interceptors.chain import InterceptedHandlers
from dynamodb_processor_server.rpc.interceptors.request_id import RequestIds
from dynamodb_processor_server.rpc.method_handlers import service_handler
from dynamodb_processor_server.rpc.server import QUERY_SERVICE
from tests.support.running import Refusal, refused

Code = grpc.StatusCode
_ID = "request-1"


@dataclass
class Raising:
    """A service whose calls fail."""

    error: BaseException

    async def Query(  # noqa: N802 - the method's name in the contract
        self, request: QueryRequest, context: Any
    ) -> QueryResponse:
        """Fail."""
        raise self.error

    StreamQuery = CountItems = BatchGetItems = ExplainQuery = Query


async def failure(error: BaseException) -> Refusal:
    """Return the failure that the caller of a call gets if it raises `error`."""
    raising = service_handler(QUERY_SERVICE, Raising(error))
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((InterceptedHandlers((raising,), (RequestIds(),)),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = QueryServiceStub(channel)
            return await refused(stub.Query(QueryRequest(), metadata=(("x-request-id", _ID),)))
    finally:
        await server.stop(5)


@dataclass(frozen=True)
class Row:
    """One row of the table: an error, its status and reason, and its details besides ErrorInfo."""

    error: errors.ProcessorError
    code: grpc.StatusCode
    reason: str
    details: frozenset[str] = frozenset()
    check: Callable[[Refusal], bool] = lambda refusal: True
    pushback: str | None = None


def retry_in(refusal: Refusal) -> float:
    """Return the seconds after which a caller may repeat the call."""
    return float(refusal.details["RetryInfo"].retry_delay.ToMilliseconds() / 1000)


def violation(refusal: Refusal, detail: str) -> tuple[str, ...]:
    """Return the one violation of a detail: its type if it has one, subject and description."""
    (found,) = refusal.details[detail].violations
    kind = (found.type,) if detail == "PreconditionFailure" else ()
    return (*kind, found.subject, found.description)


ROWS = [
    Row(
        errors.InvalidRequest.of("query.table", "is required"),
        Code.INVALID_ARGUMENT,
        "INVALID_REQUEST",
        frozenset({"BadRequest"}),
        lambda refusal: refusal.descriptions == {"query.table": "is required"},
    ),
    Row(errors.Unauthenticated("no API key"), Code.UNAUTHENTICATED, "UNAUTHENTICATED"),
    Row(errors.PermissionDenied("not granted"), Code.PERMISSION_DENIED, "PERMISSION_DENIED"),
    Row(errors.TableNotFound("no such table"), Code.NOT_FOUND, "TABLE_NOT_FOUND"),
    Row(
        errors.PreconditionFailed("TOKEN_EXPIRED", "page_token", "too old"),
        Code.FAILED_PRECONDITION,
        "TOKEN_EXPIRED",
        frozenset({"PreconditionFailure"}),
        lambda refusal: (
            violation(refusal, "PreconditionFailure") == ("TOKEN_EXPIRED", "page_token", "too old")
        ),
    ),
    Row(
        errors.RateLimited("reports", "too fast", 0.2501),
        Code.RESOURCE_EXHAUSTED,
        "RATE_LIMITED",
        frozenset({"QuotaFailure", "RetryInfo"}),
        lambda refusal: (
            violation(refusal, "QuotaFailure") == ("reports", "too fast")
            and retry_in(refusal) == 0.251
        ),
        pushback="251",
    ),
    Row(
        errors.Overloaded("full", 2.0),
        Code.RESOURCE_EXHAUSTED,
        "OVERLOADED",
        frozenset({"RetryInfo"}),
        lambda refusal: retry_in(refusal) == 2,
        pushback="2000",
    ),
    Row(
        errors.BackendUnavailable("throttled", 1.5),
        Code.UNAVAILABLE,
        "BACKEND_UNAVAILABLE",
        frozenset({"RetryInfo"}),
        lambda refusal: retry_in(refusal) == 1.5,
    ),
    Row(
        errors.BackendUnavailable("throttled, and no more retries", pushback=-1.0),
        Code.UNAVAILABLE,
        "BACKEND_UNAVAILABLE",
        frozenset({"RetryInfo"}),
        lambda refusal: retry_in(refusal) == 1,
        pushback="-1",
    ),
    Row(
        errors.Draining("going"),
        Code.UNAVAILABLE,
        "DRAINING",
        frozenset({"RetryInfo"}),
        lambda refusal: retry_in(refusal) == 0,
    ),
    Row(
        errors.AccessChanged("changed"),
        Code.UNAVAILABLE,
        "ACCESS_CHANGED",
        frozenset({"RetryInfo"}),
        lambda refusal: retry_in(refusal) == 0,
    ),
    Row(errors.DeadlineExceeded("too late"), Code.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row.error).__name__)
async def test_each_error_has_its_status_and_details(row: Row) -> None:
    """Each has one status, ErrorInfo, the details of its kind, and the request's id."""
    refusal = await failure(row.error)
    assert refusal.code is row.code
    assert refusal.message == row.error.message
    assert refusal.reason == row.reason
    assert refusal.details["ErrorInfo"].domain == "dynamodb-processor"
    assert refusal.details.keys() == {"ErrorInfo"} | row.details
    assert row.check(refusal)
    assert refusal.trailing["x-request-id"] == _ID
    assert refusal.trailing.get("grpc-retry-pushback-ms") == row.pushback


def test_every_error_of_the_domain_has_a_row() -> None:
    """The test fails if a new error has no row."""
    assert {type(row.error) for row in ROWS} == set(errors.ProcessorError.__subclasses__())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("credentials AKIA123 were refused"),
        errors.BackendRefused("AccessDenied for arn:aws:iam::1:role/x AKIA123"),
        errors.ConfigurationError("/etc/keys.yaml: AKIA123"),
        errors.ProcessorError("AKIA123"),
        ExceptionGroup("AKIA123", [ValueError("AKIA123")]),
        TimeoutError("AKIA123"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_an_unknown_error_becomes_internal(error: Exception) -> None:
    """It has a fixed text and the request's id, and nothing of its own."""
    refusal = await failure(error)
    assert refusal.code is Code.INTERNAL
    assert refusal.message == f"internal error; request id {_ID}"
    assert refusal.reason == "INTERNAL"
    assert refusal.details.keys() == {"ErrorInfo"}
    assert "AKIA123" not in repr(refusal)


@pytest.mark.parametrize("letter", ["x", "ö", "😀", "\n"], ids=["one", "two", "four", "control"])
@pytest.mark.parametrize("count", [1, 1_000])
async def test_details_stay_small(letter: str, count: int) -> None:
    """Headers over 8 KB may be lost on the way, so any number of violations fits in 4 KB."""
    long = letter * 5_000
    violations = [errors.FieldViolation(f"query.{n}.{long}", long) for n in range(count)]
    refusal = await failure(errors.InvalidRequest(violations))
    details = refusal.trailing["grpc-status-details-bin"]
    assert refusal.code is Code.INVALID_ARGUMENT
    assert refusal.fields[0].startswith("query.0.")
    assert len(details) * 4 / 3 < 4_096  # as it travels, in base64
    assert len(refusal.message.encode()) * 3 < 3_000  # percent-encoded at worst


async def test_many_small_violations_are_mostly_reported() -> None:
    """A form with a dozen violations gets all of them at once."""
    violations = [errors.FieldViolation(f"query.projection[{n}]", "is wrong") for n in range(12)]
    refusal = await failure(errors.InvalidRequest(violations))
    assert refusal.fields == [violation.field for violation in violations]


async def test_long_texts_of_other_details_are_cut_too() -> None:
    """Subjects and descriptions of preconditions are cut as well."""
    refusal = await failure(errors.PreconditionFailed("SCAN_NOT_ALLOWED", "t" * 9_000, "é" * 9_000))
    details = refusal.trailing["grpc-status-details-bin"]
    assert len(details) * 4 / 3 < 4_096


async def test_a_precondition_is_described_as_fully_as_in_the_message() -> None:
    """The remedy stands behind the reason, and is not cut off."""
    text = "x" * 400 + "; ways out"
    refusal = await failure(errors.PreconditionFailed("SCAN_NOT_ALLOWED", "t", text))
    (violation,) = refusal.details["PreconditionFailure"].violations
    assert violation.description == refusal.message == text
