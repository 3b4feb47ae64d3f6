"""Reads and checks the files for TLS: the server's certificate and key, and the client CAs.

A file that gRPC could not serve is refused here, with the setting, the reason and the remedy: gRPC
itself would log a line and fail every handshake.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from dynamodb_processor_server.config_files.document import ConfigDocument
from dynamodb_processor_server.config_files.errors import ConfigFileError, ConfigIssue

_BEGIN_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)
_PRIVATE_KEY: Final = re.compile(
    rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL
)
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
#: The exceptions of cryptography for a certificate or a key that it cannot parse. Most are no
#: ValueError, also that for a subject alternative name of a rare kind.
UNPARSABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# gRPC's clients accept no signatures by other keys: neither P-521 nor Ed25519.
_CURVES: Final = (ec.SECP256R1, ec.SECP384R1)


@dataclass(frozen=True, slots=True)
class TlsContents:
    """The contents of the files at one moment."""

    certificate: ConfigDocument
    key: ConfigDocument
    client_ca: ConfigDocument | None

    @property
    def version(self) -> str:
        """A digest of all contents, in hexadecimal digits."""
        documents = (self.certificate, self.key, self.client_ca)
        versions = [document.version if document else "" for document in documents]
        return hashlib.sha256(" ".join(versions).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The paths of the PEM files; `client_ca` is None if no client needs a certificate."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    def read(self) -> TlsContents:
        """Return the present contents; raise ConfigFileError for a file that cannot be read."""
        return TlsContents(
            _read("tls_certificate", self.certificate),
            _read("tls_key", self.key),
            _read("tls_client_ca", self.client_ca) if self.client_ca else None,
        )


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The certificate that a server presents, and the CAs of the clients that it accepts.

    Attributes:
        chain: The server's certificate and the intermediate ones, in PEM.
        key: The private key of the first certificate, in PEM.
        client_ca: The CAs that sign client certificates, in PEM; None for none.
        names: The names in the certificate that clients compare with their target.
        lifetimes: When each of the files begins and ceases to be valid, in seconds since the epoch,
            by "certificate" and "client_ca". Of several certificates the first to expire counts.
    """

    chain: bytes
    key: bytes = field(repr=False)
    client_ca: bytes | None
    names: tuple[str, ...]
    lifetimes: Mapping[str, tuple[float, float]]


def server_identity(contents: TlsContents, now: float) -> ServerIdentity:
    """Return the identity that the files give.

    Args:
        contents: The contents of the files.
        now: Seconds since the epoch.

    Raises:
        ConfigFileError: A file is incomplete or damaged, a certificate is not valid now, or the key
            belongs to another certificate.
    """
    chain = _certificates("tls_certificate", contents.certificate)
    key = _private_key(contents.key)
    _check_pair(contents, chain, key)
    _check_validity("tls_certificate", contents.certificate, chain[0], now)
    lifetimes = {"certificate": _first_to_expire(chain, now)}
    client_ca = None
    if contents.client_ca is not None:
        valid = _valid_ones("tls_client_ca", contents.client_ca, now)
        client_ca = _pem(valid)
        lifetimes["client_ca"] = _first_to_expire(valid, now)
    return ServerIdentity(
        _pem(chain),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        client_ca,
        _names(chain[0]),
        lifetimes,
    )


def _read(setting: str, path: Path) -> ConfigDocument:
    try:
        return ConfigDocument.read(path)
    except ConfigFileError as error:
        reason = error.issues[0].reason
        remedy = "give the path of a PEM file that the server's user can read"
        raise _error(setting, path, f"{reason}; {remedy}") from None


def _error(setting: str, path: Path, reason: str) -> ConfigFileError:
    return ConfigFileError((ConfigIssue(str(path), 0, setting, reason),))


def _certificates(setting: str, document: ConfigDocument) -> list[x509.Certificate]:
    blocks = _CERTIFICATE.findall(document.content)
    if _BEGIN_CERTIFICATE not in document.content:
        text = _BEGIN_CERTIFICATE.decode()
        raise _error(setting, document.path, f"has no certificate in PEM, which begins with {text}")
    if document.content.count(_BEGIN_CERTIFICATE) != len(blocks):
        raise _error(setting, document.path, "is cut off: its last certificate has no end")
    found = []
    for number, block in enumerate(blocks, 1):
        try:
            certificate = x509.load_pem_x509_certificate(block)
            certificate.public_key()
        except UNPARSABLE:
            reason = f"is damaged: certificate {number} cannot be parsed; copy the file again"
            raise _error(setting, document.path, reason) from None
        found.append(certificate)
    return found


def _private_key(document: ConfigDocument) -> _Key:
    block = _PRIVATE_KEY.search(document.content)
    if block is None:
        begun = b"PRIVATE KEY-----" in document.content
        reason = "is cut off: its key has no end" if begun else "has no private key in PEM"
        raise _error("tls_key", document.path, reason)
    try:
        key = load_pem_private_key(block[0], password=None)
    except TypeError:
        reason = "is encrypted, and the server asks for no password; decrypt it: openssl pkey"
        raise _error("tls_key", document.path, reason) from None
    except UNPARSABLE:
        reason = "is damaged: the key cannot be parsed; copy the file again"
        raise _error("tls_key", document.path, reason) from None
    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, _CURVES):
        return key
    reason = "has a key of a type that gRPC cannot serve; make an ECDSA (P-256) or RSA key"
    raise _error("tls_key", document.path, reason)


def _check_pair(contents: TlsContents, chain: list[x509.Certificate], key: _Key) -> None:
    """Raise ConfigFileError unless the key is that of the first certificate."""
    own = _public(key.public_key())
    matching = [number for number, one in enumerate(chain, 1) if _public(one.public_key()) == own]
    if not matching:
        reason = "is not the key of tls_certificate; give the two files that were issued together"
        raise _error("tls_key", contents.key.path, reason)
    if matching[0] != 1:
        reason = f"has the server's own certificate as number {matching[0]}; put it first"
        raise _error("tls_certificate", contents.certificate.path, reason)


def _public(key: CertificatePublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _check_validity(
    setting: str, document: ConfigDocument, certificate: x509.Certificate, now: float
) -> None:
    begins, ends = _lifetime(certificate)
    if now >= ends:
        raise _error(setting, document.path, f"expired at {_time(ends)}; renew it")
    if now < begins:
        reason = f"is not valid before {_time(begins)}; wait, or correct this machine's clock"
        raise _error(setting, document.path, reason)


def _valid_ones(setting: str, document: ConfigDocument, now: float) -> list[x509.Certificate]:
    """Return the certificates of a bundle without expired ones, of which one at least is left."""
    found = _certificates(setting, document)
    valid = [certificate for certificate in found if now < _lifetime(certificate)[1]]
    if not valid:
        _check_validity(setting, document, found[-1], now)
    return valid


def _first_to_expire(certificates: list[x509.Certificate], now: float) -> tuple[float, float]:
    """Return the lifetime of the valid certificate that expires first.

    A chain may have an expired root besides, for old clients, without harm to others.
    """
    lifetimes = [life for life in map(_lifetime, certificates) if now < life[1]]
    return min(lifetimes, key=lambda life: life[1])


def _lifetime(certificate: x509.Certificate) -> tuple[float, float]:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begins.timestamp(), ends.timestamp()


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, *UNPARSABLE):
        return ()
    names = extension.value
    addresses = names.get_values_for_type(x509.IPAddress)
    return (*names.get_values_for_type(x509.DNSName), *map(str, addresses))


def _pem(certificates: list[x509.Certificate]) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)
