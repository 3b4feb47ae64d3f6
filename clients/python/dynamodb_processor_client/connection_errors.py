"""Says in words why a connection with TLS failed: gRPC's own texts are those of BoringSSL."""

from __future__ import annotations

from typing import Final

WRONG_NAME: Final = "the server's certificate has another name than the target"
UNTRUSTED: Final = "no trusted authority has signed the server's certificate"
NO_TLS: Final = "the server does not speak TLS"
_FAILED: Final = ("handshake failed", "verification check failed")
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


def cause_of(details: str) -> str | None:
    """Return why a handshake failed, None if the error's text is about something else."""
    text = details.lower()
    if not any(failed in text for failed in _FAILED):
        return None
    return next((cause for sign, cause in _CAUSES if sign in text), None)
