"""Classifies botocore's exceptions: the error to raise, and whether to retry and to count them.

Sources: the DynamoDB developer guide's "Error handling" and "Diagnosing throttling", and botocore's
exceptions. The reasons for throttling are read in `throttling.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnection

from dynamodb_processor_server.catalog.schema import BASE_TABLE
from dynamodb_processor_server.dynamodb.credentials import CredentialsFailed
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer
from dynamodb_processor_server.dynamodb.throttling import Throttling, retry_after, throttling_of
from dynamodb_processor_server.errors import (
    BackendRefused,
    BackendUnavailable,
    IndexGone,
    RequestInvalid,
    TableNotFound,
)


class FailureScope(Enum):
    """The scope whose circuit breaker counts a failure; NOBODY for a request that is invalid.

    A RESOURCE is a global index, or the table with its local indexes, as far as it has capacity of
    its own; TABLE is the table with all of its indexes.
    """

    NOBODY = "nobody"
    PARTITION = "partition"
    RESOURCE = "resource"
    TABLE = "table"


@dataclass(frozen=True, slots=True)
class BackendFailure:
    """One failed attempt at a request.

    Attributes:
        error: The error to raise to the caller.
        kind: A word for the metrics.
        retryable: Whether another attempt may succeed.
        blame: The scope whose circuit breaker counts it.
        credentials_expired: Whether credentials have to be loaded again.
        may_be_request_fault: Whether the request itself may make DynamoDB fail.
        throttling: The reasons for throttling; None for another failure. Its `resource` is that of
            the request, or None.
        retry_after: The seconds that DynamoDB asks to wait before another attempt.
    """

    error: Exception
    kind: str
    retryable: bool = False
    blame: FailureScope = FailureScope.NOBODY
    credentials_expired: bool = False
    may_be_request_fault: bool = False
    throttling: Throttling | None = None
    retry_after: float = 0.0


_THROTTLES: Final = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "Throttling",
        "LimitExceededException",
    }
)
_TRANSIENT: Final = frozenset(
    {
        "InternalServerError",
        "InternalFailure",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "RequestTimeout",
        "RequestTimeoutException",
    }
)
_EXPIRED: Final = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NO_SUCH_INDEX: Final = "The table does not have the specified index"


def classify(error: Exception, table: str, resource: str = BASE_TABLE) -> BackendFailure:
    """Return the failure for an exception that was raised during a read of logical `table`.

    `resource` is the one that the request reads: a global index, or `BASE_TABLE`.
    """
    match error:
        case ClientError():
            return _after(retry_after(error.response), _classify_answer(error, table, resource))
        case CorruptAnswer():
            return _transient(f"{table} cannot be read at the moment", "corrupt")
        case HTTPClientError() | NoConnection() | OSError():  # timeouts among them
            return _transient(f"{table} cannot be reached at the moment", "unreachable")
        case CredentialsFailed():
            return _classify_credentials(error, table)
        case BotoCoreError():
            text = f"{type(error).__name__} while reading {table}: {error}"
            return BackendFailure(BackendRefused(text), "refused")
    return BackendFailure(error, "bug")


def _classify_answer(error: ClientError, table: str, resource: str) -> BackendFailure:
    answer: Mapping[str, Any] = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = answer.get("Error", {}).get("Message", "")
    if code in _THROTTLES:
        return _throttled(table, throttling_of(answer), resource)
    if code == "ResourceNotFoundException":
        return BackendFailure(TableNotFound(f"table {table} does not exist"), "refused")
    if code == "ValidationException" and _NO_SUCH_INDEX in text:
        return BackendFailure(IndexGone(table), "refused")
    if status >= 500 or code in _TRANSIENT:
        failure = _transient(f"{table} cannot be read at the moment", "failed")
        return replace(failure, may_be_request_fault=status == 500)
    if not code or code.isdecimal():  # botocore's stand-in for an answer that is not DynamoDB's
        return _transient(f"{table} cannot be read at the moment", "corrupt")
    kind = RequestInvalid if code == "ValidationException" else BackendRefused
    refused = kind(f"{code} while reading {table}: {text}")
    if code in _EXPIRED:
        return BackendFailure(refused, "credentials", retryable=True, credentials_expired=True)
    return BackendFailure(refused, "refused")


def _classify_credentials(error: CredentialsFailed, table: str) -> BackendFailure:
    """Return the failure for missing credentials, which says nothing about the table."""
    cause = error.__cause__
    assert isinstance(cause, Exception)
    if not isinstance(cause, CredentialRetrievalError | NoCredentialsError):
        failure = classify(cause, table)
        if isinstance(failure.error, BackendRefused):  # a wrong configuration stays wrong
            return replace(failure, kind="credentials")
    text = f"{table} cannot be read at the moment: there are no AWS credentials"
    return BackendFailure(BackendUnavailable(text), "credentials", retryable=True)


def _transient(message: str, kind: str, blame: FailureScope = FailureScope.TABLE) -> BackendFailure:
    return BackendFailure(BackendUnavailable(message), kind, retryable=True, blame=blame)


def _throttled(table: str, throttling: Throttling, resource: str) -> BackendFailure:
    """Return the failure for throttling; what else DynamoDB names is not what the request reads."""
    if throttling.resource != resource:
        throttling = replace(throttling, resource=None)
    blame = FailureScope.TABLE if throttling.resource is None else FailureScope.RESOURCE
    if throttling.is_hot_partition:
        blame = FailureScope.PARTITION
    error = BackendUnavailable(f"{table} is being throttled by DynamoDB")
    error.resource, error.reasons = throttling.resource, throttling.reasons
    return BackendFailure(error, "throttled", retryable=True, blame=blame, throttling=throttling)


def _after(seconds: float | None, failure: BackendFailure) -> BackendFailure:
    """Return a failure with the pause that DynamoDB asks for, which its callers keep as well."""
    if seconds is None or not isinstance(failure.error, BackendUnavailable):
        return failure
    failure.error.retry_after = failure.error.pushback = seconds
    return replace(failure, retry_after=seconds)
