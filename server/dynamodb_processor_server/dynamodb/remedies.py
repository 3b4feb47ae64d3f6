"""Texts for operators: the cause of a failed request to DynamoDB, and the setting to change."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from typing import Final

from botocore.exceptions import ConnectionError as NoConnection
from botocore.exceptions import HTTPClientError, NoCredentialsError, NoRegionError

NO_REGION: Final = (
    "no AWS region is set: give --region, AWS_REGION or AWS_DEFAULT_REGION (DynamoDB Local takes "
    "any, such as us-east-1)"
)
NO_CREDENTIALS: Final = (
    "no AWS credentials were found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "AWS_PROFILE, or run with a role (DynamoDB Local takes any two words)"
)
_UNREACHABLE: Final = (
    "check that DynamoDB answers there, --endpoint-url and --region, and the network"
)
_TLS: Final = (
    "check --endpoint-url, and AWS_CA_BUNDLE if a proxy or an endpoint of your own has a "
    "certificate of your own"
)


def remedy_for(error: Exception) -> str:
    """Return the cause of an error of `Backend` and its remedy, empty where neither is known."""
    causes = list(_causes(error))
    if any(isinstance(cause, NoRegionError) for cause in causes):
        return NO_REGION
    if any(isinstance(cause, NoCredentialsError) for cause in causes):
        return NO_CREDENTIALS
    tls = [reason for cause in causes if (reason := _tls_reason(cause))]
    if tls:
        return f"TLS to the endpoint failed, {tls[-1]}: {_TLS}"
    sent = any(isinstance(cause, HTTPClientError) for cause in causes)
    if sent and any(isinstance(cause, FileNotFoundError) for cause in causes):
        return f"a file of certificates does not exist: {_TLS}"
    if any(isinstance(cause, HTTPClientError | NoConnection | OSError) for cause in causes):
        reasons = [reason for cause in causes if (reason := _system_reason(cause))]
        reason = reasons[-1] if reasons else str(causes[0]) or "timeout"
        return f"{reason}: {_UNREACHABLE}"
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error, the nearest first."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _system_reason(error: BaseException) -> str:
    """Return the operating system's reason, such as "Connection refused", if it gave one."""
    if not isinstance(error, OSError) or error.errno is None:
        return ""
    # Libraries replace the text; errors of name servers have negative numbers and their own text.
    return os.strerror(error.errno) if error.errno > 0 else error.strerror or ""


def _tls_reason(error: BaseException) -> str:
    """Return the reason for which a TLS handshake failed, if it did and gave one.

    Errors of TLS have numbers too, which are none of the operating system's.
    """
    if not isinstance(error, ssl.SSLError):
        return ""
    reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or ""
    return str(reason).rstrip(".")
