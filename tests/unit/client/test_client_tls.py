"""Tests of TLS in the client and in `ddbq`: files, names, and failures of connections."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from dynamodb_processor_client import Query, QueryClient, Unavailable, tls_credentials
from dynamodb_processor_client.tls import system_roots
from tests.support.certificates import Certificate, issue
from tests.support.fake_server import running
from tests.support.fake_service import FakeService, numbered
from tests.unit.client.commands import Run, run_with


@dataclass
class Server:
    """A running server with TLS, and the files that its clients use."""

    service: FakeService
    authority: Certificate
    cacert: Path
    cert: Path
    cert_key: Path


async def _serving(folder: Path, certificate: Certificate, authority: Certificate) -> Server:
    cacert, _ = authority.write(folder, "ca")
    cert, cert_key = issue("client.test", issuer=authority).write(folder, "client")
    return Server(FakeService(items=numbered(10)), authority, cacert, cert, cert_key)


@pytest.fixture
async def mutual(tmp_path: Path) -> AsyncIterator[Server]:
    """A server of 127.0.0.1 that requires client certificates."""
    authority = issue(common_name="authority")
    own = issue(issuer=authority)
    server = await _serving(tmp_path, own, authority)
    credentials = grpc.ssl_server_credentials(
        [(own.key, own.pem)], authority.pem, require_client_auth=True
    )
    async with running(server.service, credentials):
        yield server


async def test_files_give_credentials(mutual: Server) -> None:
    """One file may have certificate and key."""
    both = mutual.cert.with_name("both.pem")
    both.write_bytes(mutual.cert_key.read_bytes() + mutual.cert.read_bytes())
    for credentials in (
        tls_credentials(mutual.cacert, cert=mutual.cert, cert_key=mutual.cert_key),
        tls_credentials(str(mutual.cacert), cert=str(both)),
    ):
        async with QueryClient(mutual.service.address, credentials=credentials) as client:
            assert len((await client.query(Query("numbers"))).items) == 10


def test_wrong_files_are_named(mutual: Server, tmp_path: Path) -> None:
    """The error names the argument, the file and the reason, before a call is made."""
    folder = f"{mutual.cert.parent}/"
    empty, encrypted = tmp_path / "empty.pem", tmp_path / "encrypted.pem"
    empty.write_bytes(b"")
    other, other_key = issue().write(tmp_path, "other")
    encrypted.write_bytes(
        issue().private.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    )
    for arguments, error in (
        ({"cacert": "none"}, "cacert: none cannot be read: No such file or directory"),
        ({"cacert": empty}, "cacert: empty.pem has no valid certificate in PEM"),
        ({"cacert": "a\0b"}, "cacert: a\0b cannot be read: the path is not usable"),
        ({"cert": "none"}, "cert: none cannot be read: No such file or directory"),
        ({"cert": other}, "cert: other.pem and other.pem have no certificate and key in PEM"),
        ({"cert": other, "cert_key": empty}, "cert: other.pem and empty.pem have no certificate"),
        ({"cert": other, "cert_key": mutual.cert_key}, "cert_key: client-key.pem has not the key"),
        ({"cert": other, "cert_key": encrypted}, "cert_key: the key in encrypted.pem is encrypted"),
        ({"cert_key": other_key}, "cert_key: needs cert, the certificate of the key"),
    ):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared below
            tls_credentials(**arguments)
        assert str(caught.value).replace(folder, "").startswith(error)


def test_the_roots_of_the_system_are_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`SSL_CERT_FILE` names others, as for other programs."""
    file, _ = issue().write(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    assert system_roots() == file.read_bytes()
    monkeypatch.delenv("SSL_CERT_FILE")
    roots = system_roots()
    if roots is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=roots.decode())
        assert context.cert_store_stats()["x509_ca"] > 10


# Connections that fail


@pytest.mark.parametrize(
    ("server", "cause"),
    [
        (lambda authority: issue("db.test", issuer=authority), "has another name than the target"),
        (lambda authority: issue(issuer=authority, days=(-9, -2)), "has expired"),
        (lambda authority: issue(issuer=authority, days=(2, 9)), "is not valid yet"),
        (lambda authority: issue(), "no trusted authority has signed the server's certificate"),
        (
            lambda authority: issue(issuer=issue(common_name="foreign")),
            "no trusted authority has signed the server's certificate",
        ),
        (lambda authority: None, "the server does not speak TLS"),
    ],
    ids=["wrong name", "expired", "not yet valid", "self-signed", "foreign", "plain text"],
)
async def test_a_failed_handshake_says_why(
    tmp_path: Path, server: Callable[[Certificate], Certificate | None], cause: str
) -> None:
    """The error begins with the cause, and the text of gRPC follows."""
    authority = issue(common_name="authority")
    cacert, _ = authority.write(tmp_path, "ca")
    own = server(authority)
    service = FakeService(items=numbered(10))
    credentials = None if own is None else grpc.ssl_server_credentials([(own.key, own.pem)])
    async with (
        running(service, credentials),
        QueryClient(service.address, credentials=tls_credentials(cacert)) as client,
    ):
        with pytest.raises(Unavailable) as caught:
            await client.query(Query("numbers"))
    message = caught.value.message
    assert cause in message.partition(": ")[0]
    assert "last error: " in message


@pytest.mark.parametrize("with_tls", [False, True])
async def test_a_connection_that_the_server_closes_says_why(mutual: Server, with_tls: bool) -> None:
    """Plain text on a port with TLS, or no certificate where one is required, ends so."""
    credentials = tls_credentials(mutual.cacert) if with_tls else None
    async with QueryClient(mutual.service.address, credentials=credentials) as client:
        with pytest.raises(Unavailable) as caught:
            await client.query(Query("numbers"))
    assert caught.value.message.startswith(
        "the server closed a new connection, and may want TLS or another certificate: "
    )


async def test_another_name_may_be_expected(tmp_path: Path, environment: dict[str, str]) -> None:
    """A tunnel has another name than the server at its end."""
    authority = issue(common_name="authority")
    cacert, _ = authority.write(tmp_path, "ca")
    own = issue("db.test", issuer=authority)
    service = FakeService(items=numbered(10))
    async with running(service, grpc.ssl_server_credentials([(own.key, own.pem)])):
        environment["DDBQ_TARGET"] = service.address
        given = ("query", "numbers", "--cacert", str(cacert))
        outcome = await run_with(environment, *given)
        assert outcome.status == 1
        assert outcome.errors.splitlines()[-1] == (
            f"hint: does the certificate name {service.address}? --server-name gives its name"
        )
        outcome = await run_with(environment, *given, "--server-name", "db.test")
    assert (outcome.status, len(outcome.lines)) == (0, 10)


@pytest.mark.parametrize(
    ("flags", "hint"),
    [
        (["--cacert", "{cacert}", "--cert", "{cert}", "--cert-key", "{cert_key}"], ""),
        (["--cacert", "{cacert}"], "may require a client certificate: --cert names one"),
        (["--cacert", "{cacert}", "--cert", "{foreign}"], "accept the certificate of --cert"),
        (["--cacert", "{foreign}"], "--cacert names a file with the authority that signed"),
        (["--tls"], "--cacert names a file with the authority that signed"),
        ([], "may speak TLS: try --tls"),
    ],
)
async def test_the_command_takes_files(
    mutual: Server, environment: dict[str, str], tmp_path: Path, flags: list[str], hint: str
) -> None:
    """A connection that fails is followed by a hint on the option that may help."""
    foreign = issue()
    both = tmp_path / "foreign.pem"
    both.write_bytes(foreign.pem + foreign.key)
    names = {
        "cacert": mutual.cacert,
        "cert": mutual.cert,
        "cert_key": mutual.cert_key,
        "foreign": both,
    }
    environment["DDBQ_TARGET"] = mutual.service.address
    outcome = await run_with(
        environment, "query", "numbers", *(flag.format(**names) for flag in flags)
    )
    assert outcome.status == (1 if hint else 0), outcome.errors
    assert hint in (outcome.errors.splitlines() or [""])[-1]


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (("--cacert", "none"), "--cacert: none cannot be read: No such file or directory"),
        (("--cert-key", "k.pem"), "--cert-key: needs cert, the certificate of the key"),
        (("--cert", "none"), "--cert: none cannot be read: No such file or directory"),
    ],
)
async def test_wrong_files_are_usage_errors(run: Run, flags: tuple[str, str], error: str) -> None:
    """The option is named as it was given."""
    outcome = await run("tables", *flags)
    assert outcome.status == 2
    assert outcome.errors.splitlines()[-1] == f"ddbq tables: error: {error}"


async def test_the_variable_of_grpc_names_roots(
    mutual: Server, environment: dict[str, str]
) -> None:
    """`GRPC_DEFAULT_SSL_ROOTS_FILE_PATH` works as for other clients of gRPC."""
    environment["DDBQ_TARGET"] = mutual.service.address
    environment["GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"] = str(mutual.cacert)
    files = ("--cert", str(mutual.cert), "--cert-key", str(mutual.cert_key))
    outcome = await run_with(environment, "query", "numbers", *files)
    assert (outcome.status, len(outcome.lines)) == (0, 10)
