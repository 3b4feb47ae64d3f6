"""What AWS says went wrong, in the domain's words."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ReadTimeoutError,
    SSLError,
)

from dynamodb_processor_server.errors import (
    BackendRefused,
    BackendUnavailable,
    PreconditionFailed,
    ProcessorError,
    TableNotFound,
)
from dynamodb_processor_server.reading.failures import translate

URL: dict[str, Any] = {"endpoint_url": "https://internal.example", "error": "secret"}


def answer(code: str, message: str = "internal detail", status: int = 400) -> ClientError:
    """Return the error that botocore makes of an answer."""
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Query")


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
            PreconditionFailed,
            "no longer exists",
        ),
        (answer("ValidationException"), BackendRefused, "ValidationException"),
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
        (NoCredentialsError(), BackendRefused, "NoCredentialsError while reading events"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_errors_are_told_apart(error: Exception, expected: type[Exception], words: str) -> None:
    """Come again later, gone, or our own mistake; only the last keeps AWS's words, for the log."""
    translated = translate(error, "events")
    assert type(translated) is expected
    assert words in str(translated)
    if isinstance(translated, ProcessorError):
        assert not any(word in translated.message for word in ("internal", "secret", "example"))


def test_an_index_that_is_gone_has_a_reason() -> None:
    """Clients start again without their token."""
    error = translate(
        answer("ValidationException", "The table does not have the specified index: x"), "events"
    )
    assert isinstance(error, PreconditionFailed)
    assert (error.reason, error.subject) == ("INDEX_GONE", "events")


def test_other_errors_stay_what_they_are() -> None:
    """A bug is a bug."""
    error = ValueError("bug")
    assert translate(error, "events") is error
