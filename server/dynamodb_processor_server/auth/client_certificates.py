"""Authentication by client certificate.

TLS has verified the certificate before: one of the client CAs has signed it, and it was valid when
the connection began. Here its subject alternative names (SAN) lead to a principal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from cryptography import x509

from dynamodb_processor_server.auth.keys_file import normal_san
from dynamodb_processor_server.auth.principal import Principal
from dynamodb_processor_server.config_files.tls_files import UNPARSABLE
from dynamodb_processor_server.errors import Unauthenticated

_MAX_DECISIONS: Final = 1_024
_SPIFFE: Final = "URI:spiffe://"
_UNKNOWN: Final = "the client certificate names no known caller"
_AMBIGUOUS: Final = "the client certificate names more than one caller"
_EXPIRED: Final = "the client certificate is not valid any more"


class CertificateRing:
    """The callers with client certificates at one moment; replaced when the keys file changes.

    Decisions are remembered by the certificate's digest, since parsing takes longer than a call's
    other checks together. They include the certificate's own expiry. TLS does not check it again on
    a connection that lasts, or that resumes a TLS session.
    """

    __slots__ = ("_by_san", "_decisions")

    def __init__(self, by_san: Mapping[str, Principal]) -> None:
        """Create a ring of the principals of the names, as `normal_san` returns them."""
        self._by_san = dict(by_san)
        self._decisions: dict[bytes, Principal] = {}

    def __len__(self) -> int:
        return len(self._by_san)

    @property
    def principals(self) -> tuple[Principal, ...]:
        """The principals, in the order of the file."""
        return tuple(self._by_san.values())

    def authenticate(self, pem: bytes, now: float) -> Principal:
        """Return the principal of a verified certificate.

        Args:
            pem: The certificate.
            now: Seconds since the epoch.

        Raises:
            Unauthenticated: The certificate or its entry has expired, or the certificate names no
                caller of the file, or several.
        """
        digest = hashlib.sha256(pem).digest()
        principal = self._decisions.get(digest)
        if principal is None:
            principal = self._principal_of(pem)
            if len(self._decisions) >= _MAX_DECISIONS:
                self._decisions.clear()
            self._decisions[digest] = principal
        if now >= principal.expires:
            raise Unauthenticated(_EXPIRED)
        return principal

    def _principal_of(self, pem: bytes) -> Principal:
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            names = _names(certificate)
        except UNPARSABLE:  # TLS accepts forms that the parser does not
            raise Unauthenticated(_UNKNOWN) from None
        known = [self._by_san[name] for name in names if name in self._by_san]
        found = {principal.key_id: principal for principal in known}
        if len(found) > 1:
            raise Unauthenticated(_AMBIGUOUS)
        if not found:
            raise Unauthenticated(_UNKNOWN)
        (principal,) = found.values()
        expires = min(principal.expires, certificate.not_valid_after_utc.timestamp())
        return replace(principal, expires=expires)


def _names(certificate: x509.Certificate) -> set[str]:
    """Return the certificate's DNS names and URIs; no SPIFFE ID if it has another URI as well.

    SPIFFE allows an X.509 certificate exactly one URI (X509-SVID, section 2).
    """
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return set()
    san = extension.value
    hosts = {normal_san("DNS", name) for name in san.get_values_for_type(x509.DNSName)}
    uris = [
        normal_san("URI", uri) for uri in san.get_values_for_type(x509.UniformResourceIdentifier)
    ]
    if len(uris) > 1:
        uris = [uri for uri in uris if not uri.startswith(_SPIFFE)]
    return hosts.union(uris)
