"""Client certificates: the principals of their names, and the entries of the keys file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from dynamodb_processor_server.auth.api_keys import KeyRing
from dynamodb_processor_server.auth.grants import Grant
from dynamodb_processor_server.config_files import ConfigDocument, ConfigFileError
from dynamodb_processor_server.errors import Unauthenticated
from tests.support.certificates import SAN_OF_A_PARTY, Certificate, issue, issue_with_san

_UNKNOWN = "the client certificate names no known caller"
_AMBIGUOUS = "the client certificate names more than one caller"
_EXPIRED = "the client certificate is not valid any more"
_ENTRIES = """\
keys: []
certificates:
  - {id: r-1, principal: reports, san: "DNS:Reports.test", tables: [audit_events],
     roles: [reader, admin], rate_class: standard}
  - {id: j-1, principal: jobs, san: "URI:spiffe://test/Jobs", tables: ["*"]}
  - {id: w-1, principal: wild, san: "dns:*.wild.test", tables: ["*"],
     expires: 2027-01-15T08:00:00Z}
"""
_NOW = 1_700_000_000.0


def ring(text: str = _ENTRIES) -> KeyRing:
    """Return the ring of a keys file with this text."""
    return KeyRing.build(ConfigDocument(Path("keys.yaml"), text.encode()))


def refusal(pem: bytes, now: float = _NOW) -> str:
    """Return the text with which a certificate is refused."""
    with pytest.raises(Unauthenticated) as caught:
        ring().certificates.authenticate(pem, now)
    return str(caught.value)


def test_a_name_gives_its_principal() -> None:
    """Name, roles, tables and rate class of the principal come from the entry."""
    keys = ring()
    certificate = issue("other.test", "rePORTS.test")
    found = keys.certificates.authenticate(certificate.pem, _NOW)
    assert (found.key_id, found.name, found.rate_class) == ("r-1", "reports", "standard")
    assert found.roles == {"reader", "admin"}
    assert found.grants == (Grant("audit_events"),)
    assert keys.certificates.authenticate(certificate.pem, _NOW) is found
    assert (len(keys), len(keys.certificates)) == (0, 3)
    assert [principal.key_id for principal in keys.principals] == ["r-1", "j-1", "w-1"]


@pytest.mark.parametrize(
    ("certificate", "key_id"),
    [
        (issue(uris=["spiffe://test/Jobs"]), "j-1"),
        (issue("a.test", uris=["spiffe://test/Jobs"]), "j-1"),
        (issue("*.wild.test"), "w-1"),
        (issue("reports.test", uris=["spiffe://test/unknown"]), "r-1"),
    ],
)
def test_other_kinds_of_names(certificate: Certificate, key_id: str) -> None:
    """URIs and names with a wildcard are compared as a whole; unknown names do no harm."""
    assert ring().certificates.authenticate(certificate.pem, _NOW).key_id == key_id


@pytest.mark.parametrize(
    ("certificate", "text"),
    [
        (issue("unknown.test"), _UNKNOWN),
        (issue("127.0.0.1"), _UNKNOWN),
        (issue("a.wild.test"), _UNKNOWN),
        (issue("spiffe.test", common_name="reports.test"), _UNKNOWN),
        (issue(uris=["spiffe://test/jobs"]), _UNKNOWN),
        (issue(uris=["dns:reports.test"]), _UNKNOWN),
        (issue(uris=["spiffe://test/Jobs", "https://a.test/"]), _UNKNOWN),
        (issue("reports.test", uris=["spiffe://test/Jobs"]), _AMBIGUOUS),
    ],
)
def test_certificates_without_one_caller_are_refused(certificate: Certificate, text: str) -> None:
    """The subject is no name, an address is none, and SPIFFE allows one URI; none is guessed."""
    assert refusal(certificate.pem) == text


def test_a_certificate_without_names_is_refused() -> None:
    """An old certificate may have a subject alone; a text may be no certificate."""
    base = issue()
    name = base.x509.subject
    bare = (
        x509.CertificateBuilder(name, name, base.private.public_key(), serial_number=1)
        .not_valid_before(base.x509.not_valid_before_utc)
        .not_valid_after(base.x509.not_valid_after_utc)
        .sign(base.private, hashes.SHA256())
    )
    assert refusal(bare.public_bytes(Encoding.PEM)) == _UNKNOWN
    assert refusal(b"no certificate") == _UNKNOWN


@pytest.mark.parametrize("der", [SAN_OF_A_PARTY, b"\x30\x03\x82\x01\xe9", b"\x30\x00", b"\x00"])
def test_names_of_other_kinds_and_forms_are_none(der: bytes) -> None:
    """An authority may sign what the parser does not know; that is no defect of the server."""
    certificate = issue_with_san(der, issue(common_name="authority"))
    assert refusal(certificate.pem) == _UNKNOWN


def test_the_certificate_and_its_entry_expire() -> None:
    """The first of the two counts, though TLS compares neither on a connection that lasts."""
    short, long = issue("reports.test"), issue("*.wild.test", days=(-1, 10_000))
    keys = ring().certificates
    ends = short.x509.not_valid_after_utc.timestamp()
    assert keys.authenticate(short.pem, ends - 1).expires == ends
    assert refusal(short.pem, ends) == _EXPIRED
    entry = 1_800_000_000.0  # 2027-01-15T08:00:00Z
    assert keys.authenticate(long.pem, entry - 1).expires == entry
    assert refusal(long.pem, entry) == _EXPIRED


def test_many_certificates_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions are remembered for a bounded number of certificates."""
    module = "dynamodb_processor_server.auth.client_certificates"
    monkeypatch.setattr(f"{module}._MAX_DECISIONS", 2)
    keys = ring().certificates
    certificates = [issue("reports.test") for _ in range(5)]
    for certificate in certificates * 2:
        assert keys.authenticate(certificate.pem, _NOW).name == "reports"
    assert len(keys._decisions) <= 2


@pytest.mark.parametrize(
    ("entry", "issue_text"),
    [
        ("id: a, principal: p, tables: ['*']", "certificates[0].san: is required"),
        ("id: a, principal: p, tables: ['*'], san: x", "certificates[0].san: must be DNS: and a"),
        ("id: a, principal: p, tables: ['*'], san: 'IP:::1'", "certificates[0].san: must be DNS:"),
        ("id: a, principal: p, tables: ['*'], san: 'DNS:a b'", "certificates[0].san: must be DNS:"),
        ("id: a, principal: p, tables: ['*'], san: 'URI:/a'", "certificates[0].san: must be DNS:"),
        (
            "id: a, principal: p, tables: ['*'], digest: x, san: 'DNS:a'",
            "certificates[0].digest: is not a field that is known here",
        ),
        (
            "id: k, principal: p, tables: ['*'], san: 'DNS:a'",
            "certificates[0].id: is that of keys[0] already",
        ),
        (
            "id: a, principal: p, tables: ['*'], san: 'DNS:a.test', rate_class: gold",
            "certificates[0].rate_class: must be one of the rate classes: default",
        ),
        (
            (
                "id: a, principal: p, tables: [t], san: 'DNS:a'}\n  - "
                "{id: b, principal: p, tables: [t], san: 'dns:A'"
            ),
            "certificates[1].san: is that of certificates[0] already",
        ),
    ],
)
def test_errors_in_an_entry_are_refused(entry: str, issue_text: str) -> None:
    """Each error names its field."""
    digest = "sha256:" + "0" * 64
    text = (
        f"keys:\n  - {{id: k, principal: p, digest: '{digest}', tables: ['*']}}\n"
        f"certificates:\n  - {{{entry}}}\n"
    )
    with pytest.raises(ConfigFileError) as caught:
        KeyRing.build(ConfigDocument(Path("keys.yaml"), text.encode()), ["default"])
    [found] = caught.value.issues
    assert f"{found.field}: {found.reason}".startswith(issue_text)
