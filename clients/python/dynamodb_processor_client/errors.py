"""What a call can raise: one class for each status that the service answers with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
from grpc.aio import AioRpcError
from grpc_status import rpc_status

if TYPE_CHECKING:
    from google.rpc.status_pb2 import Status


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that was wrong: the path of the field, or what the condition is about, and why."""

    subject: str
    description: str


class QueryError(Exception):
    """The root of everything the service can answer instead of a result.

    Statuses without a class of their own (such as UNIMPLEMENTED) are raised as this class.

    Attributes:
        code: The status.
        message: What happened, in the service's words.
        reason: The machine-readable reason (`google.rpc.ErrorInfo`); empty when none was given.
        request_id: The call's name in the service's logs, if the service gave one.
        violations: What was wrong with the request, if that was the problem.
        retry_after: Seconds after which the same call may succeed, if the service gave them.
        may_retry: False when the service asked not to be called again now.
        next_page_token: With the reason ITEM_TOO_LARGE, where to go on behind the item that no
            message takes; empty when nothing follows it or the error had no room for the token.
        resume_token: For streams, where to go on after the items that were delivered; empty when
            that is the beginning.
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
        """Make the error; the attributes are described with the class."""
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
        """Return the status and the message, which names every violation."""
        return f"{self.code.name}: {self.message}"


class InvalidArgument(QueryError):
    """The request is wrong; `violations` names every field."""

    code = grpc.StatusCode.INVALID_ARGUMENT


class Unauthenticated(QueryError):
    """The API key is missing, wrong or no longer good."""

    code = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(QueryError):
    """The API key does not grant this."""

    code = grpc.StatusCode.PERMISSION_DENIED


class NotFound(QueryError):
    """The table does not exist."""

    code = grpc.StatusCode.NOT_FOUND


class FailedPrecondition(QueryError):
    """The request cannot be served as things are: it needs a scan, its token expired, ..."""

    code = grpc.StatusCode.FAILED_PRECONDITION


class ResourceExhausted(QueryError):
    """The caller is over its limits, or the server is full; `retry_after` says until when."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(QueryError):
    """The service or DynamoDB is out of reach, or a stream broke and could not be resumed."""

    code = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(QueryError):
    """The time was over. A stream's `resume_token` goes on from there."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED


class Internal(QueryError):
    """A mistake of the service; `request_id` finds it in the logs."""

    code = grpc.StatusCode.INTERNAL


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
    # Whoever cancels a call of this client's own sees no RPC error. This one comes from the other
    # end: a server that stops may cancel what reaches it at that moment (grpc#41785).
    grpc.StatusCode.CANCELLED: Unavailable,
}


@contextmanager
def typed_errors() -> Iterator[None]:
    """Raise what gRPC raises in the block as the typed error for it."""
    try:
        yield
    except AioRpcError as error:
        raise from_rpc_error(error) from error


def from_rpc_error(error: AioRpcError) -> QueryError:
    """Return the typed error for what a call raised, with the details that came along."""
    trailers = dict(error.trailing_metadata() or ())
    status = _status(error)
    info, request, retry = ErrorInfo(), RequestInfo(), RetryInfo()
    _unpack(status, info)
    _unpack(status, request)
    pushback = _text(trailers.get("grpc-retry-pushback-ms"))
    waits = pushback is None or _is_milliseconds(pushback)
    result = _BY_CODE.get(error.code(), QueryError)(
        error.details() or "no details were given",
        reason=info.reason,
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


def _status(error: AioRpcError) -> Status | None:
    # A proxy may have put in its own status and left the details of another: then there are none.
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
    # gRFC A6: a pushback that is negative or no number means not to retry at all.
    return int(pushback) / 1e3 if pushback is not None and _is_milliseconds(pushback) else None


def _is_milliseconds(pushback: str) -> bool:
    return pushback.isascii() and pushback.isdecimal() and len(pushback) <= _MAX_PUSHBACK_DIGITS


def _text(value: str | bytes | None) -> str | None:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value
