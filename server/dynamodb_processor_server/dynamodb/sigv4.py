"""Signs requests to DynamoDB with AWS Signature Version 4.

Source: "Create a signed AWS API request" in the IAM user guide. botocore derives the signing key
and the canonical form of every header anew for each request, which takes about ten times as long.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from hmac import digest
from typing import Any, Final, Protocol

CONTENT_TYPE: Final = "application/x-amz-json-1.0"
_NAMES: Final = "content-type;host;x-amz-date;x-amz-target"
_NAMES_WITH_TOKEN: Final = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"  # noqa: S105 - names of headers


class FrozenCredentials(Protocol):
    """Credentials as botocore freezes them for one request."""

    access_key: str
    secret_key: str
    token: str | None
    account_id: str | None


@dataclass(frozen=True, slots=True)
class SigningTarget:
    """The parts of a signature that are the same for all requests to an endpoint.

    `path` and `query` are in canonical form. `host` is the value of the Host header.
    """

    host: str
    path: str
    query: str
    region: str
    service: str


class Signer:
    """Signs requests to one endpoint. It keeps the signing key of the last credentials and day."""

    def __init__(self, target: SigningTarget) -> None:
        self._target = target
        self._prologue = f"POST\n{target.path}\n{target.query}\ncontent-type:{CONTENT_TYPE}\n"
        self._second = -1
        self._timestamp = ""
        self._signed_for: Any = None
        self._key = b""
        self._scope = ""
        self._credential = ""
        self._token_header = ""
        self._names = ""

    def headers(
        self, credentials: FrozenCredentials, operation: str, body: bytes, now: float
    ) -> dict[str, str]:
        """Return the headers that authorize a request.

        `operation` is the value of X-Amz-Target. `now` is in seconds since the epoch.
        """
        timestamp = self._at(int(now))
        if (credentials, timestamp[:8]) != self._signed_for:
            self._derive(credentials, timestamp[:8])
        canonical = (
            f"{self._prologue}host:{self._target.host}\nx-amz-date:{timestamp}\n"
            f"{self._token_header}x-amz-target:{operation}\n\n"
            f"{self._names}\n{sha256(body).hexdigest()}"
        )
        hashed = sha256(canonical.encode()).hexdigest()
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{self._scope}\n{hashed}"
        signature = digest(self._key, text.encode(), "sha256").hex()
        headers = {
            "X-Amz-Target": operation,
            "X-Amz-Date": timestamp,
            "Authorization": f"{self._credential}{signature}",
        }
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        return headers

    def _at(self, second: int) -> str:
        if second != self._second:
            self._second = second
            self._timestamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        return self._timestamp

    def _derive(self, credentials: FrozenCredentials, day: str) -> None:
        """Derive the parts of a signature that change with the credentials and the day."""
        target = self._target
        key = f"AWS4{credentials.secret_key}".encode()
        for part in (day, target.region, target.service, "aws4_request"):
            key = digest(key, part.encode(), "sha256")
        self._key = key
        self._scope = f"{day}/{target.region}/{target.service}/aws4_request"
        token = " ".join((credentials.token or "").split())
        self._token_header = f"x-amz-security-token:{token}\n" if credentials.token else ""
        self._names = _NAMES_WITH_TOKEN if credentials.token else _NAMES
        self._credential = (
            f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{self._scope}, "
            f"SignedHeaders={self._names}, Signature="
        )
        self._signed_for = (credentials, day)
