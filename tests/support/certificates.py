"""Certificates for tests of TLS: self-signed ones, authorities, and what these sign."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtensionOID, NameOID

from tests.support.lengths import PATIENCE

_Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its private key, both also in PEM."""

    x509: x509.Certificate
    private: _Key = field(repr=False)

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.x509.public_bytes(Encoding.PEM)

    @property
    def key(self) -> bytes:
        """The private key, unencrypted."""
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, folder: Path, name: str = "certificate") -> tuple[Path, Path]:
        """Write the certificate and its key as a rotation does, and return their paths."""
        paths = folder / f"{name}.pem", folder / f"{name}-key.pem"
        for path, content in zip(paths, (self.pem, self.key), strict=True):
            replace_file(path, content)
        return paths


def issue(
    *names: str,
    issuer: Certificate | None = None,
    uris: Sequence[str] = (),
    days: tuple[float, float] = (-1, 1),
    key: _Key | None = None,
    common_name: str = "tests",
) -> Certificate:
    """Return a new certificate.

    Args:
        names: The names and addresses of hosts in it; `127.0.0.1` and `localhost` without any.
        issuer: The authority that signs it; without one it signs itself, and is an authority.
        uris: The URIs in it. With URIs alone it names no host.
        days: Its first and last moment, in days from now.
        key: Its private key; a new one if absent.
        common_name: The name of its subject.
    """
    private = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    hosts = names or (() if uris else ("127.0.0.1", "localhost"))
    san = [*map(_general_name, hosts), *map(x509.UniformResourceIdentifier, uris)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.x509.subject if issuer else subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=days[0]))
        .not_valid_after(now + timedelta(days=days[1]))
        .add_extension(x509.SubjectAlternativeName(san), critical=False)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    signing = issuer.private if issuer else private
    algorithm = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Certificate(builder.sign(signing, algorithm), private)


def issue_with_san(der: bytes, issuer: Certificate) -> Certificate:
    """Return a certificate whose subject alternative name is the given DER."""
    plain = issue(issuer=issuer)
    builder = (
        x509.CertificateBuilder()
        .subject_name(plain.x509.subject)
        .issuer_name(issuer.x509.subject)
        .public_key(plain.private.public_key())
        .serial_number(plain.x509.serial_number)
        .not_valid_before(plain.x509.not_valid_before_utc)
        .not_valid_after(plain.x509.not_valid_after_utc)
        .add_extension(
            x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, der), critical=False
        )
    )
    return Certificate(builder.sign(issuer.private, hashes.SHA256()), plain.private)


#: A subject alternative name that is a party's name of EDI (RFC 5280, section 4.2.1.6).
SAN_OF_A_PARTY: Final = bytes.fromhex("300aa508a106130474657374")


def replace_file(path: Path, content: bytes) -> Path:
    """Write a file in one step, as a rotation does, and return its path."""
    draft = path.with_suffix(".draft")
    draft.write_bytes(content)
    return draft.replace(path)


def presented_serial(address: str) -> int:
    """Return the serial number of the certificate that HOST:PORT presents to a new connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), PATIENCE) as plain,
        context.wrap_socket(plain) as connection,
    ):
        der = connection.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
