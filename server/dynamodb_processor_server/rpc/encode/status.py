"""Maps the domain's errors to gRPC statuses with `google.rpc` details, in one table.

An error that is not in the table becomes INTERNAL, with a fixed text and the request id. Its own
text goes to the log only.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from dynamodb_processor_server import errors
from dynamodb_processor_server.catalog.schema import Table

DOMAIN: Final = "dynamodb-processor"
_DETAILS_KEY: Final = "grpc-status-details-bin"
_PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"

# Headers over 8 KB may be dropped on the way, and the whole status with them, so texts are cut. The
# bounds are in bytes of UTF-8, because the details travel in base64, and the message a second time,
# percent-encoded.
_MAX_MESSAGE: Final = 800
_MAX_FIELD: Final = 150
_MAX_DESCRIPTION: Final = 256
_MAX_BAD_REQUEST: Final = 1_900

#: The status of each kind of error. The reasons are in docs/reference/errors.md.
CODES: Final[Sequence[tuple[type[errors.ProcessorError], grpc.StatusCode]]] = (
    (errors.InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.BearerTokenRefused, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.TableNotFound, grpc.StatusCode.NOT_FOUND),
    (errors.PreconditionFailed, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.RateLimited, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.BackendUnavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.Draining, grpc.StatusCode.UNAVAILABLE),
    (errors.AccessChanged, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExceeded, grpc.StatusCode.DEADLINE_EXCEEDED),
)


@dataclass(frozen=True, slots=True)
class RpcError:
    """The failure of a call: status, reason (of the `ErrorInfo`), text, details and retry advice.

    `pushback` is the delay in seconds for gRPC's own retries. A negative one forbids them, None
    gives no advice. `metadata` is that of the `ErrorInfo`.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    details: tuple[Message, ...] = ()
    pushback: float | None = None
    metadata: tuple[tuple[str, str], ...] = ()


def rpc_error_of(error: BaseException, request_id: str, table: Table | None = None) -> RpcError:
    """Return the failure of a call that raised `error`.

    `table` is the table of the call as its caller may see it, None where that is not known.
    """
    if isinstance(error, errors.ProcessorError):
        for kind, code in CODES:
            if isinstance(error, kind):
                return _domain_error(error, code, table)
    return RpcError(
        grpc.StatusCode.INTERNAL, "INTERNAL", f"internal error; request id {request_id}"
    )


def _domain_error(
    error: errors.ProcessorError, code: grpc.StatusCode, table: Table | None
) -> RpcError:
    details: list[Message] = []
    retry_after: float | None = getattr(error, "retry_after", None)
    if retry_after is not None:
        details.append(_retry_info(retry_after))
    match error:
        case errors.InvalidRequest():
            details.append(_bad_request(error))
        case errors.PreconditionFailed():
            failed = error_details_pb2.PreconditionFailure()
            # As long as the message, because the remedies stand behind the reason.
            failed.violations.add(
                type=error.reason,
                subject=_cut(error.subject),
                description=_cut(error.message, _MAX_MESSAGE),
            )
            details.append(failed)
        case errors.RateLimited():
            quota = error_details_pb2.QuotaFailure()
            quota.violations.add(subject=_cut(error.subject), description=_cut(error.message))
            details.append(quota)
    message = error.message
    pushback = retry_after if code is grpc.StatusCode.RESOURCE_EXHAUSTED else None
    metadata: tuple[tuple[str, str], ...] = ()
    if isinstance(error, errors.BackendUnavailable):
        pushback = error.pushback
        metadata = _throttling(error, table)
        if metadata:
            message += f" ({', '.join(value for _, value in metadata)})"
    if isinstance(error, errors.ItemTooLarge) and error.token:
        metadata = (("next_page_token", error.token),)
    text = _cut(message, _MAX_MESSAGE)
    return RpcError(code, error.reason, text, tuple(details), pushback, metadata)


def _throttling(
    error: errors.BackendUnavailable, table: Table | None
) -> tuple[tuple[str, str], ...]:
    """Return the throttled index and the reasons; nothing where the caller may not see the index.

    Callers share reads, and their errors. So the index may be one that this caller does not see.
    """
    if error.resource is None or table is None:
        return ()
    path = table.schema.path(error.resource)
    if path is None or not table.may_name(path):
        return ()
    reasons = (("throttling_reasons", ",".join(error.reasons)),) if error.reasons else ()
    return (("throttled_index", path.label), *reasons)


def _bad_request(error: errors.InvalidRequest) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    more = error.more
    for index, violation in enumerate(error.violations):
        bad.field_violations.add(
            field=_cut(violation.field, _MAX_FIELD),
            description=_cut(violation.description),
            reason=error.reason,
        )
        if bad.ByteSize() > _MAX_BAD_REQUEST:
            del bad.field_violations[-1]
            more += len(error.violations) - index
            break
    if more:
        bad.field_violations.add(
            field="request", description=f"and {more} more violations", reason=error.reason
        )
    return bad


def _retry_info(seconds: float) -> error_details_pb2.RetryInfo:
    info = error_details_pb2.RetryInfo()
    info.retry_delay.FromMilliseconds(math.ceil(seconds * 1000))
    return info


def _cut(text: str, size: int = _MAX_DESCRIPTION) -> str:
    return text.encode()[:size].decode(errors="ignore")


class _Status(
    namedtuple("_Status", ("code", "details", "trailing_metadata")),  # noqa: PYI024 - grpc's form
    grpc.Status,
):
    """A status for `abort_with_status`, which drops trailing metadata that was set elsewhere."""


def grpc_status(failure: RpcError, trailing: Sequence[tuple[str, str | bytes]]) -> grpc.Status:
    """Return a failure as gRPC sends it, with further trailing metadata."""
    status = status_pb2.Status(code=failure.code.value[0], message=failure.message)
    info = error_details_pb2.ErrorInfo(
        reason=failure.reason, domain=DOMAIN, metadata=dict(failure.metadata)
    )
    for detail in (info, *failure.details):
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    metadata = [*trailing, (_DETAILS_KEY, status.SerializeToString())]
    if failure.pushback is not None:
        metadata.append((_PUSHBACK_KEY, str(max(-1, math.ceil(failure.pushback * 1000)))))
    return _Status(failure.code, failure.message, tuple(metadata))
