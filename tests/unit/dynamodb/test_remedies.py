"""The causes and remedies that an operator reads when DynamoDB cannot be read."""

from __future__ import annotations

import errno
import socket

import pytest
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    HTTPClientError,
    NoCredentialsError,
    NoRegionError,
)

from dynamodb_processor_server.dynamodb.credentials import CredentialsFailed
from dynamodb_processor_server.dynamodb.remedies import remedy_for
from dynamodb_processor_server.errors import BackendRefused, BackendUnavailable


def caused(*causes: BaseException) -> BackendUnavailable:
    """Return an error with a chain of causes."""
    error: BaseException
    first = error = BackendUnavailable("events cannot be read at the moment")
    for cause in causes:
        error.__cause__ = cause
        error = cause
    return first


@pytest.mark.parametrize(
    ("causes", "remedy"),
    [
        ((NoRegionError(),), "no AWS region is set: give --region,"),
        ((CredentialsFailed(), NoCredentialsError()), "no AWS credentials were found: set"),
        (
            (EndpointConnectionError(endpoint_url="x"), OSError(errno.ECONNREFUSED, "call failed")),
            "Connection refused: check that DynamoDB answers there, --endpoint-url and",
        ),
        (
            (EndpointConnectionError(endpoint_url="x"), socket.gaierror(-2, "Name not known")),
            "Name not known: check that",
        ),
        ((ConnectTimeoutError(endpoint_url="x"),), 'Connect timeout on endpoint URL: "x": check'),
        ((TimeoutError(),), "timeout: check that"),
        (
            (HTTPClientError(error="x"), FileNotFoundError(2, "No such file or directory")),
            "a file of certificates does not exist: check --endpoint-url, and AWS_CA_BUNDLE",
        ),
        (
            (CredentialsFailed(), FileNotFoundError(2, "No such file or directory")),
            "No such file or directory: check that",
        ),
    ],
)
def test_a_failure_has_a_cause_and_a_remedy(causes: tuple[Exception, ...], remedy: str) -> None:
    """The operating system's reason says more than the library's text."""
    assert remedy_for(caused(*causes)).startswith(remedy)


def test_other_errors_say_all_themselves() -> None:
    """A refusal has DynamoDB's own text."""
    assert remedy_for(BackendRefused("AccessDeniedException while reading events")) == ""
