"""The error to raise for each exception of botocore, and the breaker that counts it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
    SSLError,
)

from dynamodb_processor_server.dynamodb.credentials import CredentialsFailed
from dynamodb_processor_server.dynamodb.error_classification import FailureScope, classify
from dynamodb_processor_server.dynamodb.response_parser import CorruptAnswer
from dynamodb_processor_server.errors import (
    BackendRefused,
    BackendUnavailable,
    IndexGone,
    ProcessorError,
    RequestInvalid,
    TableNotFound,
)

URL: dict[str, Any] = {"endpoint_url": "https://internal.example", "error": "secret"}


def answer(code: str, message: str = "internal detail", status: int = 400) -> ClientError:
    """Return the error that botocore makes of an answer."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Query")


def named(value: object) -> str:
    """Return a short name for a part of a test case."""
    cause = getattr(value, "__cause__", None)
    return str(value)[:60] if cause is None else f"without, {cause!r}"[:60]


def without(cause: Exception) -> CredentialsFailed:
    """Return the error of credentials that are missing for a reason."""
    error = CredentialsFailed()
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (answer("ProvisionedThroughputExceededException"), BackendUnavailable, "throttled"),
        (answer("ThrottlingException"), BackendUnavailable, "throttled"),
        (answer("RequestLimitExceeded"), BackendUnavailable, "throttled"),
        (answer("InternalServerError", status=500), BackendUnavailable, "cannot be read"),
        (answer("SomethingNew", status=503), BackendUnavailable, "cannot be read"),
        (answer("InternalFailure"), BackendUnavailable, "cannot be read"),
        (answer("ResourceNotFoundException"), TableNotFound, "table events does not exist"),
        (
            answer("ValidationException", "The table does not have the specified index: by_user"),
            IndexGone,
            "no longer exists",
        ),
        (answer("ValidationException"), RequestInvalid, "ValidationException"),
        (answer("AccessDeniedException"), BackendRefused, "AccessDeniedException"),
        (answer("InvalidSignatureException"), BackendRefused, "InvalidSignatureException"),
        (answer("ExpiredTokenException"), BackendRefused, "ExpiredTokenException"),
        (EndpointConnectionError(**URL), BackendUnavailable, "cannot be reached"),
        (ConnectTimeoutError(**URL), BackendUnavailable, "cannot be reached"),
        (ReadTimeoutError(**URL), BackendUnavailable, "cannot be reached"),
        (ConnectionClosedError(**URL), BackendUnavailable, "cannot be reached"),
        (SSLError(**URL), BackendUnavailable, "cannot be reached"),
        (ConnectionResetError(104, "reset"), BackendUnavailable, "cannot be reached"),
        (TimeoutError(), BackendUnavailable, "cannot be reached"),
        (without(NoCredentialsError()), BackendUnavailable, "there are no AWS credentials"),
        (
            without(RuntimeError("still expired")),
            BackendUnavailable,
            "there are no AWS credentials",
        ),
        (without(FileNotFoundError()), BackendUnavailable, "there are no AWS credentials"),
        (without(NoRegionError()), BackendRefused, "NoRegionError while reading events"),
        (without(answer("AccessDenied")), BackendRefused, "AccessDenied while reading events"),
    ],
    ids=named,
)
def test_errors_are_classified(error: Exception, expected: type[Exception], words: str) -> None:
    """Only errors of the server's own requests keep AWS's text, for the log."""
    translated = classify(error, "events").error
    assert type(translated) is expected
    assert words in str(translated)
    if isinstance(translated, ProcessorError):
        assert not any(word in translated.message for word in ("internal", "secret", "example"))


def test_a_deleted_index_has_a_reason() -> None:
    """Clients start again without their token."""
    gone = answer("ValidationException", "The table does not have the specified index: x")
    error = classify(gone, "events").error
    assert isinstance(error, IndexGone)
    assert (error.reason, error.subject) == ("INDEX_GONE", "events")


def test_other_errors_are_not_replaced() -> None:
    """They are bugs, which are not retried."""
    error = ValueError("bug")
    failure = classify(error, "events")
    assert (failure.error, failure.retryable, failure.blame) == (error, False, FailureScope.NOBODY)


def throttled(spelling: str, *reasons: str) -> ClientError:
    """Return a throttling error with DynamoDB's reasons."""
    error = answer("ProvisionedThroughputExceededException")
    response: Any = error.response
    response[spelling] = [{"reason": reason, "resource": "arn"} for reason in reasons]
    return error


@pytest.mark.parametrize("spelling", ["ThrottlingReasons", "throttlingReasons"])
@pytest.mark.parametrize(
    ("reasons", "blamed"),
    [
        ((), FailureScope.TABLE),
        (("TableReadKeyRangeThroughputExceeded",), FailureScope.PARTITION),
        (("IndexReadKeyRangeThroughputExceeded",), FailureScope.PARTITION),
        (("TableReadProvisionedThroughputExceeded",), FailureScope.TABLE),
        (("TableReadAccountLimitExceeded",), FailureScope.TABLE),
        (
            ("TableReadKeyRangeThroughputExceeded", "TableReadMaxOnDemandThroughputExceeded"),
            FailureScope.TABLE,
        ),
    ],
)
def test_a_hot_partition_differs_from_a_throttled_table(
    spelling: str, reasons: tuple[str, ...], blamed: FailureScope
) -> None:
    """DynamoDB's reasons decide, in either spelling."""
    failure = classify(throttled(spelling, *reasons), "events")
    assert (failure.kind, failure.retryable, failure.blame) == ("throttled", True, blamed)


@pytest.mark.parametrize(
    ("error", "kind", "retryable", "blamed"),
    [
        (answer("RequestLimitExceeded"), "throttled", True, FailureScope.TABLE),
        (answer("ServiceUnavailable", status=503), "failed", True, FailureScope.TABLE),
        (ConnectionClosedError(**URL), "unreachable", True, FailureScope.TABLE),
        (TimeoutError(), "unreachable", True, FailureScope.TABLE),
        (CorruptAnswer("checksum"), "corrupt", True, FailureScope.TABLE),
        (answer("413", "<html>"), "corrupt", True, FailureScope.TABLE),
        (answer("ExpiredTokenException"), "credentials", True, FailureScope.NOBODY),
        (without(answer("ExpiredToken")), "credentials", True, FailureScope.NOBODY),
        (without(answer("Throttling")), "credentials", True, FailureScope.NOBODY),
        (without(answer("SomethingNew", status=503)), "credentials", True, FailureScope.NOBODY),
        (without(answer("AccessDenied")), "credentials", False, FailureScope.NOBODY),
        (without(EndpointConnectionError(**URL)), "credentials", True, FailureScope.NOBODY),
        (
            without(CredentialRetrievalError(provider="assume-role", error_msg="secret")),
            "credentials",
            True,
            FailureScope.NOBODY,
        ),
        (answer("AccessDeniedException"), "refused", False, FailureScope.NOBODY),
        (answer("UnrecognizedClientException"), "refused", False, FailureScope.NOBODY),
        (answer("ValidationException"), "refused", False, FailureScope.NOBODY),
        (answer("ResourceNotFoundException"), "refused", False, FailureScope.NOBODY),
    ],
    ids=named,
)
def test_each_failure_says_whether_to_retry_and_what_to_blame(
    error: Exception, kind: str, retryable: bool, blamed: FailureScope
) -> None:
    """The breaker counts only failures of the table."""
    failure = classify(error, "events")
    assert (failure.kind, failure.retryable, failure.blame) == (kind, retryable, blamed)
    assert failure.credentials_expired == ("Expired" in f"{error} {error.__cause__}")
