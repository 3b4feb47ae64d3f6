"""The exceptions of calls: one class for each status of the service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import (
    BadRequest,
    ErrorInfo,
    PreconditionFailure,
    QuotaFailure,
    RequestInfo,
    RetryInfo,
)
from grpc_status import rpc_status

from dynamodb_processor_client.connection_errors import cause_of

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status


@dataclass(frozen=True, slots=True)
class Violation:
    """One error in a request: the path of a field or the subject of a condition, and the reason."""

    subject: str
    description: str


class QueryError(Exception):
    """The base class of all errors of the service.

    A status without its own class, such as UNIMPLEMENTED, is raised as this class.

    Attributes:
        code: The gRPC status code.
        message: The service's message.
        reason: The machine-readable reason (`google.rpc.ErrorInfo`); empty if there is none.
        request_id: The ID of the call in the service's logs, if there is one.
        violations: The errors in the request, if it was invalid.
        retry_after: Seconds after which the same call may succeed, if the service gave them.
        may_retry: False if the service asked clients not to call again now.
        next_page_token: With the reason ITEM_TOO_LARGE, the token to continue after the item that
            is too large for a message. Empty if no item follows, or if the error had no room for
            the token.
        resume_token: The token to continue a stream or a count after the results so far; empty for
            the beginning.
    """

    code: grpc.StatusCode = grpc.StatusCode.UNKNOWN

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        request_id: str | None = None,
        violations: tuple[Violation, ...] = (),
        retry_after: float | None = None,
        may_retry: bool = True,
    ) -> None:
        """Make the error; the class documents the attributes."""
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.request_id = request_id
        self.violations = violations
        self.retry_after = retry_after
        self.may_retry = may_retry
        self.resume_token = ""
        self.next_page_token = ""

    def __str__(self) -> str:
        """Return the status, the reason and the message, which names every violation."""
        named = self.reason not in ("", self.code.name)
        reason = f" ({self.reason})" if named else ""
        return f"{self.code.name}{reason}: {self.message}"


class InvalidArgument(QueryError):
    """The request is invalid; `violations` names every field."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Unauthenticated(QueryError):
    """The API key or the client certificate is missing, unknown or no longer valid."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(QueryError):
    """The API key does not grant this call."""

    code = grpc.StatusCode.PERMISSION_DENIED


class NotFound(QueryError):
    """The table does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class FailedPrecondition(QueryError):
    """The request is valid but cannot be served: it needs a scan, its token expired, ..."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(QueryError):
    """The caller's limit is reached, or the server is full; `retry_after` has the seconds."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(QueryError):
    """The service or DynamoDB is unreachable, or a stream broke and could not be resumed."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(QueryError):
    """The deadline passed; `resume_token` continues a stream or a count."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Internal(QueryError):
    """A fault of the service; `request_id` finds it in the logs."""

    code = grpc.StatusCode.INTERNAL


# gRPC's text for a response that it cannot parse, in calls of the synchronous client.
_UNPARSED = "Exception deserializing response!"
_MAX_PUSHBACK_DIGITS = 10  # milliseconds of 300 years have more


_BY_CODE: Mapping[grpc.StatusCode, type[QueryError]] = {
    error.code: error
    for error in (
        InvalidArgument,
        Unauthenticated,
        PermissionDenied,
        NotFound,
        FailedPrecondition,
        ResourceExhausted,
        Unavailable,
        DeadlineExceeded,
        Internal,
    )
} | {
    # A call that the client itself cancels raises no RPC error. This status comes from the server:
    # a stopping one may cancel calls that arrive at that moment (grpc#41785).
    grpc.StatusCode.CANCELLED: Unavailable,
}


@contextmanager
def typed_errors() -> Iterator[None]:
    """Convert an RPC error in the block into the typed error for its status."""
    try:
        yield
    except grpc.RpcError as error:
        raise from_rpc_error(error) from error


def from_rpc_error(error: grpc.RpcError) -> QueryError:
    """Return the typed error for an RPC error, with the details in its trailers."""
    metadata = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    trailers = dict(metadata)
    status = _status(error)
    info, request, retry = ErrorInfo(), RequestInfo(), RetryInfo()
    _unpack(status, info)
    _unpack(status, request)
    pushback = _text(trailers.get("grpc-retry-pushback-ms"))
    waits = pushback is None or _is_milliseconds(pushback)
    result = _BY_CODE.get(error.code(), QueryError)(
        _message(error),
        reason="BAD_ANSWER" if error.details() == _UNPARSED else info.reason,
        request_id=request.request_id or _text(trailers.get("x-request-id")),
        violations=_violations(status),
        retry_after=(
            retry.retry_delay.ToMicroseconds() / 1e6
            if _unpack(status, retry)
            else _pushback_seconds(pushback)
        ),
        may_retry=waits,
    )
    result.code = error.code()
    result.next_page_token = info.metadata.get("next_page_token", "")
    return result


def _message(error: grpc.RpcError) -> str:
    details = error.details() or "no details were given"
    cause = cause_of(details) if error.code() is grpc.StatusCode.UNAVAILABLE else None
    return details if cause is None else f"{cause}: {details}"


def _status(error: grpc.RpcError) -> Status | None:
    # A proxy may replace the status and keep the details of the old one: they are ignored.
    try:
        return cast("Status | None", rpc_status.from_call(cast(grpc.Call, error)))
    except (ValueError, DecodeError, TypeError):
        return None


def _unpack(status: Status | None, into: Message) -> bool:
    return any(detail.Unpack(into) for detail in (status.details if status else ()))


def _violations(status: Status | None) -> tuple[Violation, ...]:
    bad, failed, quota = BadRequest(), PreconditionFailure(), QuotaFailure()
    for message in (bad, failed, quota):
        _unpack(status, message)
    return (
        *(Violation(one.field, one.description) for one in bad.field_violations),
        *(Violation(one.subject, one.description) for one in failed.violations),
        *(Violation(one.subject, one.description) for one in quota.violations),
    )


def _pushback_seconds(pushback: str | None) -> float | None:
    # gRFC A6: a pushback that is negative or not a number means: do not retry.
    return int(pushback) / 1e3 if pushback is not None and _is_milliseconds(pushback) else None


def _is_milliseconds(pushback: str) -> bool:
    return pushback.isascii() and pushback.isdecimal() and len(pushback) <= _MAX_PUSHBACK_DIGITS


def _text(value: str | bytes | None) -> str | None:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
