"""TLS files: which ones give an identity, and the errors about the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from dynamodb_processor_server.config_files import (
    ConfigDocument,
    ConfigFileError,
    ReloadableFiles,
)
from dynamodb_processor_server.config_files.tls_files import (
    ServerIdentity,
    TlsContents,
    TlsFiles,
    server_identity,
)
from tests.support.certificates import SAN_OF_A_PARTY, Certificate, issue, issue_with_san

_DAY: Final = 86_400.0


@dataclass
class Files:
    """Files that give an identity until a test changes one of them."""

    files: TlsFiles
    authority: Certificate
    server: Certificate

    @property
    def now(self) -> float:
        """A moment at which all certificates are valid."""
        return self.server.x509.not_valid_before_utc.timestamp() + _DAY

    def identity(self) -> ServerIdentity:
        """Return the identity that the files give."""
        return server_identity(self.files.read(), self.now)

    def error(self) -> str:
        """Return the error about the files, without their folder."""
        with pytest.raises(ConfigFileError) as caught:
            self.identity()
        return str(caught.value).replace(f"{self.files.key.parent}/", "")


@pytest.fixture
def good(tmp_path: Path) -> Files:
    """Files of a certificate that an authority signed, which also signs those of clients."""
    authority = issue("authority.test", common_name="authority")
    server = issue("db.test", "10.0.0.1", issuer=authority)
    certificate, key = server.write(tmp_path, "server")
    certificate.write_bytes(server.pem + authority.pem)
    client_ca, _ = authority.write(tmp_path, "ca")
    return Files(TlsFiles(certificate, key, client_ca), authority, server)


def test_the_files_give_an_identity(good: Files) -> None:
    """It has the whole chain, the key, the client CAs, the names and the expiries."""
    identity = good.identity()
    ends = good.server.x509.not_valid_after_utc.timestamp()
    assert identity.chain == good.server.pem + good.authority.pem
    assert identity.key == good.server.key
    assert identity.client_ca == good.authority.pem
    assert identity.names == ("db.test", "10.0.0.1")
    assert {file: life[1] for file, life in identity.lifetimes.items()} == {
        "certificate": pytest.approx(ends, abs=5),
        "client_ca": pytest.approx(ends, abs=5),
    }
    assert "PRIVATE" not in f"{identity!r} {good.files.read()!r}"


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65_537, 2_048)]
)
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_keys_of_usual_types_and_forms_are_accepted(
    good: Files, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: PrivateFormat
) -> None:
    """Other text in the files is ignored, such as the parameters that OpenSSL writes."""
    server = issue("db.test", issuer=good.authority, key=key)
    remark = b"Bag Attributes\r\n-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n"
    good.files.certificate.write_bytes(b"\xef\xbb\xbfsubject=x\r\n" + server.pem)
    good.files.key.write_bytes(remark + key.private_bytes(Encoding.PEM, form, NoEncryption()))
    assert good.identity().key == server.key


def _truncated(name: str) -> Callable[[Files], None]:
    def change(good: Files) -> None:
        path = getattr(good.files, name)
        path.write_bytes(path.read_bytes()[:-60])

    return change


def _write(name: str, content: bytes) -> Callable[[Files], None]:
    return lambda good: (getattr(good.files, name).write_bytes(content), None)[1]


def _damage(name: str) -> Callable[[Files], None]:
    def change(good: Files) -> None:
        path = getattr(good.files, name)
        lines = path.read_bytes().splitlines()
        lines[1] = lines[1][::-1]
        path.write_bytes(b"\n".join(lines))

    return change


def _other_key(good: Files) -> None:
    good.files.key.write_bytes(issue().key)


def _wrong_order(good: Files) -> None:
    good.files.certificate.write_bytes(good.authority.pem + good.server.pem)


def _of_days(begins: float, ends: float) -> Callable[[Files], None]:
    def change(good: Files) -> None:
        other = issue("db.test", issuer=good.authority, days=(begins, ends))
        good.files.certificate.write_bytes(other.pem)
        good.files.key.write_bytes(other.key)

    return change


def _encrypted(good: Files) -> None:
    encryption = BestAvailableEncryption(b"secret")
    key = good.server.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    good.files.key.write_bytes(key)


def _of_type(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey,
) -> Callable[[Files], None]:
    def change(good: Files) -> None:
        other = issue("db.test", issuer=good.authority, key=key)
        good.files.certificate.write_bytes(other.pem)
        good.files.key.write_bytes(other.key)

    return change


def _expired_ca(good: Files) -> None:
    assert good.files.client_ca is not None
    good.files.client_ca.write_bytes(issue(days=(-9, -2)).pem)


_NO_PEM: Final = "has no certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"
_MISSING: Final = (
    "cannot be read: No such file or directory; give the path of a PEM file that the server's user "
    "can read"
)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda good: good.files.certificate.unlink(), f"server.pem: tls_certificate: {_MISSING}"),
        (lambda good: good.files.key.unlink(), f"server-key.pem: tls_key: {_MISSING}"),
        (lambda good: good.files.client_ca.unlink(), f"ca.pem: tls_client_ca: {_MISSING}"),
        (_write("certificate", b""), f"server.pem: tls_certificate: {_NO_PEM}"),
        (_write("client_ca", b"\x30\x82\x01"), f"ca.pem: tls_client_ca: {_NO_PEM}"),
        (_write("key", b"hello"), "server-key.pem: tls_key: has no private key in PEM"),
        (
            _truncated("certificate"),
            "server.pem: tls_certificate: is cut off: its last certificate has no end",
        ),
        (
            _truncated("client_ca"),
            "ca.pem: tls_client_ca: is cut off: its last certificate has no end",
        ),
        (_truncated("key"), "server-key.pem: tls_key: is cut off: its key has no end"),
        (
            _damage("certificate"),
            (
                "server.pem: tls_certificate: is damaged: certificate 1 cannot be parsed; copy the "
                "file again"
            ),
        ),
        (
            _damage("key"),
            "server-key.pem: tls_key: is damaged: the key cannot be parsed; copy the file again",
        ),
        (
            _other_key,
            (
                "server-key.pem: tls_key: is not the key of tls_certificate; give the two files "
                "that were issued together"
            ),
        ),
        (
            _wrong_order,
            (
                "server.pem: tls_certificate: has the server's own certificate as number 2; put it "
                "first"
            ),
        ),
        (
            _encrypted,
            (
                "server-key.pem: tls_key: is encrypted, and the server asks for no password; "
                "decrypt it: openssl pkey"
            ),
        ),
        *(
            (
                _of_type(key),
                (
                    "server-key.pem: tls_key: has a key of a type that gRPC cannot serve; make an "
                    "ECDSA (P-256) or RSA key"
                ),
            )
            for key in (
                ed25519.Ed25519PrivateKey.generate(),
                ec.generate_private_key(ec.SECP521R1()),
            )
        ),
    ],
)
def test_wrong_files_are_refused(good: Files, change: Callable[[Files], None], error: str) -> None:
    """Each error names the file, the setting and the reason; those with a remedy name it, too."""
    change(good)
    assert good.error() == error


@pytest.mark.parametrize(
    ("change", "start", "end"),
    [
        (_of_days(-9, -2), "server.pem: tls_certificate: expired at 20", "; renew it"),
        (_expired_ca, "ca.pem: tls_client_ca: expired at 20", "; renew it"),
        (
            _of_days(2, 9),
            "server.pem: tls_certificate: is not valid before 20",
            "; wait, or correct this machine's clock",
        ),
    ],
)
def test_certificates_outside_their_lifetime_are_refused(
    good: Files, change: Callable[[Files], None], start: str, end: str
) -> None:
    """The error has the moment."""
    change(good)
    text = good.error()
    assert text.startswith(start)
    assert text.endswith(f"Z{end}")


def test_a_certificate_with_a_name_of_a_rare_kind_is_served(good: Files) -> None:
    """Its names are only printed; clients judge them."""
    other = issue_with_san(SAN_OF_A_PARTY, good.authority)
    good.files.certificate.write_bytes(other.pem)
    good.files.key.write_bytes(other.key)
    assert good.identity().names == ()


def test_an_expired_authority_among_valid_ones_is_left_out(good: Files) -> None:
    """Bundles keep old authorities for long."""
    assert good.files.client_ca is not None
    expired = issue(days=(-9, -2))
    good.files.client_ca.write_bytes(expired.pem + good.authority.pem)
    assert good.identity().client_ca == good.authority.pem


def test_without_client_cas_no_client_needs_a_certificate(good: Files) -> None:
    """The third file is optional."""
    good.files = TlsFiles(good.files.certificate, good.files.key)
    identity = good.identity()
    assert identity.client_ca is None
    assert identity.lifetimes.keys() == {"certificate"}


def _mounted(folder: Path, certificates: Sequence[Certificate]) -> TlsFiles:
    """Return the files of a folder whose link `..data`, as in Kubernetes, leads to the first."""
    folder.mkdir()
    for number, certificate in enumerate(certificates):
        version = folder / str(number)
        version.mkdir()
        (version / "tls.crt").write_bytes(certificate.pem)
        (version / "tls.key").write_bytes(certificate.key)
    (folder / "..data").symlink_to("0")
    for name in ("tls.crt", "tls.key"):
        (folder / name).symlink_to(f"..data/{name}")
    return TlsFiles(folder / "tls.crt", folder / "tls.key")


def _swap(folder: Path, version: str) -> None:
    (folder / "..new").symlink_to(version)
    (folder / "..new").rename(folder / "..data")


async def test_the_swapped_links_of_a_secret_are_one_change(tmp_path: Path, good: Files) -> None:
    """A pair that is read while the links are swapped is no error of the operator's."""
    files = _mounted(tmp_path / "mount", [good.server, issue("db.test", issuer=good.authority)])
    swaps = iter([False, True])

    def read() -> TlsContents:
        certificate = ConfigDocument.read(files.certificate)
        if next(swaps, False):
            _swap(tmp_path / "mount", "1")
        return TlsContents(certificate, ConfigDocument.read(files.key), None)

    reloader = ReloadableFiles[TlsContents, ServerIdentity](
        files.certificate, read, lambda contents: server_identity(contents, good.now)
    )
    first, adopted = reloader.current, list[ServerIdentity]()
    for _ in range(2):
        await reloader.poll(adopted.append)
        assert reloader.is_up_to_date
    assert [one.key for one in adopted] == [reloader.current.key]
    assert reloader.current.key != first.key


async def test_a_certificate_that_is_not_valid_yet_is_adopted_later(good: Files) -> None:
    """The version is built again at each poll; other refused versions wait for a change."""
    now = [good.now]
    files = TlsFiles(good.files.certificate, good.files.key)
    reloader = ReloadableFiles[TlsContents, ServerIdentity](
        files.certificate,
        files.read,
        lambda contents: server_identity(contents, now[0]),
        retry_refused=True,
    )
    first = reloader.current
    _of_days(2, 9)(good)
    for _ in range(2):
        await reloader.poll(lambda _: None)
        assert (reloader.current, reloader.is_up_to_date) == (first, False)
    now[0] += 3 * _DAY
    await reloader.poll(lambda _: None)
    assert reloader.is_up_to_date
    assert reloader.current.chain == good.files.certificate.read_bytes()
