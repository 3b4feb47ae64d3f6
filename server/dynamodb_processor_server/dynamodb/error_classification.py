"""Classifies botocore's exceptions: the error to raise, and whether to retry and to count them.

Sources: the DynamoDB developer guide's "Error handling" and "Diagnosing throttling", and botocore's
exceptions.
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

from dynamodb_processor_server.dynamodb.credentials import CredentialsFailed
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer
from dynamodb_processor_server.errors import (
    BackendRefused,
    BackendUnavailable,
    IndexGone,
    RequestInvalid,
    TableNotFound,
)


class FailureScope(Enum):
    """The scope whose circuit breaker counts a failure; NOBODY for a request that is invalid."""

    NOBODY = "nobody"
    PARTITION = "partition"
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
    """

    error: Exception
    kind: str
    retryable: bool = False
    blame: FailureScope = FailureScope.NOBODY
    credentials_expired: bool = False
    may_be_request_fault: bool = False


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
# The suffix of reasons that concern one partition; others concern a table, an index or the account.
_HOT_PARTITION: Final = "KeyRangeThroughputExceeded"
_NO_SUCH_INDEX: Final = "The table does not have the specified index"


def classify(error: Exception, table: str) -> BackendFailure:
    """Return the failure for an exception that was raised during a read of logical `table`."""
    match error:
        case ClientError():
            return _classify_answer(error, table)
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


def _classify_answer(error: ClientError, table: str) -> BackendFailure:
    answer: Mapping[str, Any] = error.response
    code = str(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    text = answer.get("Error", {}).get("Message", "")
    if code in _THROTTLES:
        blame = FailureScope.PARTITION if _is_hot_partition(answer) else FailureScope.TABLE
        return _transient(f"{table} is being throttled by DynamoDB", "throttled", blame)
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


def _is_hot_partition(answer: Mapping[str, Any]) -> bool:
    """Return whether each reason for throttling is a hot partition."""
    given = answer.get("ThrottlingReasons") or answer.get("throttlingReasons") or ()
    reasons = [str(reason.get("reason", "")) for reason in given]
    return bool(reasons) and all(reason.endswith(_HOT_PARTITION) for reason in reasons)
