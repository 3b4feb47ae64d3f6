"""TLS credentials from files, each checked with an error that names it."""

from __future__ import annotations

import ssl
from os import PathLike, fspath
from pathlib import Path
from typing import Final

import grpc

PathName = str | PathLike[str]

# Bundles of the certificates that a system trusts, where OpenSSL names no file: Debian and Alpine,
# Fedora, openSUSE, macOS.
_BUNDLES: Final = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def tls_credentials(
    cacert: PathName | None = None,
    *,
    cert: PathName | None = None,
    cert_key: PathName | None = None,
) -> grpc.ChannelCredentials:
    """Return credentials for `QueryClient` to connect with TLS.

    The files are read once. A client with other certificates is another client.

    Args:
        cacert: A PEM file of the authorities that may have signed the server's certificate; the
            ones that the system trusts, or the file in `SSL_CERT_FILE`, if absent.
        cert: A PEM file with the client's certificate, for servers that require one.
        cert_key: A PEM file with its private key, unencrypted; `cert` has both if absent.

    Raises:
        ValueError: A file cannot be read or has not what it should have; the text names it.
    """
    roots = _roots(cacert) if cacert is not None else system_roots()
    if cert is None:
        if cert_key is not None:
            raise ValueError("cert_key: needs cert, the certificate of the key")
        return grpc.ssl_channel_credentials(roots)
    key = cert if cert_key is None else cert_key
    chain, secret = _read("cert", cert), _read("cert_key", key)
    _check_pair(fspath(cert), fspath(key))
    return grpc.ssl_channel_credentials(roots, secret, chain)


def system_roots() -> bytes | None:
    """Return the certificates that the system trusts, in PEM; None for gRPC's own.

    gRPC for Python would use a list of its own, which lacks the authorities of a company.
    """
    for name in (ssl.get_default_verify_paths().cafile, *_BUNDLES):
        if name and (path := Path(name)).is_file():
            return path.read_bytes()
    found = ssl.create_default_context().get_ca_certs(binary_form=True)  # on Windows
    return "".join(map(ssl.DER_cert_to_PEM_cert, found)).encode() or None


def _roots(path: PathName) -> bytes:
    content = _read("cacert", path)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode())
    except (ssl.SSLError, ValueError):
        raise ValueError(f"cacert: {fspath(path)} has no valid certificate in PEM") from None
    return content


def _read(argument: str, path: PathName) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the path is not usable"
        raise ValueError(f"{argument}: {fspath(path)} cannot be read: {reason}") from None


def _check_pair(cert: str, key: str) -> None:
    """Raise ValueError unless the files have a certificate and its private key."""

    def refuse() -> str:
        raise ValueError(f"cert_key: the key in {key} is encrypted; decrypt it: openssl pkey")

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=refuse)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"cert_key: {key} has not the key of {cert}") from None
        raise ValueError(f"cert: {cert} and {key} have no certificate and key in PEM") from None
