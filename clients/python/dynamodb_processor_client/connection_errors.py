"""Says in words why a connection could not be made: gRPC's own texts are those of BoringSSL."""

from __future__ import annotations

from typing import Final

WRONG_NAME: Final = "the server's certificate has another name than the target"
UNTRUSTED: Final = "no trusted authority has signed the server's certificate"
NO_TLS: Final = "the server does not speak TLS"
CLOSED: Final = "the server closed a new connection, and may want TLS or another certificate"
_FAILED: Final = ("handshake failed", "verification check failed")
_NO_CONNECTION: Final = (
    "connections to all backends failing",
    "failed to connect to all addresses",
)
# Texts of gRPC 1.85 and BoringSSL, the specific ones first.
_CAUSES: Final = (
    ("hostname verification", WRONG_NAME),
    ("certificate has expired", "the server's certificate has expired"),
    ("certificate is not yet valid", "the server's certificate is not valid yet"),
    ("self signed certificate", UNTRUSTED),
    ("unable to get", UNTRUSTED),
    ("certificate_verify_failed", "the server's certificate is not valid"),
    ("wrong_version_number", NO_TLS),
)
#: Every cause that is named.
CAUSES: Final = frozenset({CLOSED, *(cause for _, cause in _CAUSES)})


def cause_of(details: str) -> str | None:
    """Return why a connection could not be made, None if the error's text does not say.

    A server that refuses a client's certificate, or gets plain text instead of TLS, closes the
    connection without a word.
    """
    text = details.lower()
    if text.startswith(_NO_CONNECTION) and text.endswith("socket closed"):
        return CLOSED
    if not any(failed in text for failed in _FAILED):
        return None
    return next((cause for sign, cause in _CAUSES if sign in text), None)
