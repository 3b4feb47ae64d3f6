"""Tests of `dynamodb-processor config` with TLS, and on addresses that need it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dynamodb_processor_server.__main__ import main
from tests.support.certificates import Certificate, issue
from tests.unit.cli.server_files import files


def flags(directory: Path, dynamodb_local: str, table: str, *more: str) -> list[str]:
    """Return the flags of a server of the table."""
    named = files(directory, {"events": {"table": table}})
    return [*named, f"--endpoint-url={dynamodb_local}", *more]


def tls_flags(directory: Path, certificate: Certificate) -> list[str]:
    """Write a certificate, and return the flags that name it, also as its own client CA."""
    paths = certificate.write(directory, "server")
    names = ("tls-certificate", "tls-key", "tls-client-ca")
    return [f"--{name}={path}" for name, path in zip(names, (*paths, paths[0]), strict=True)]


def test_config_shows_the_certificate(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It shows the names that clients may connect to, and when the certificates expire."""
    certificate = issue("db.test", days=(-1, 300))
    tls = tls_flags(tmp_path, certificate)
    assert main(["config", *flags(tmp_path, dynamodb_local, table, *tls)]) == 0
    output = capsys.readouterr().out
    shown = yaml.safe_load(output)
    ends = f"{certificate.x509.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert shown["tls"] == {
        "names": ["db.test"],
        "expires": {"certificate": ends, "client_ca": ends},
    }
    assert (shown["keys"], shown["certificates"]) == (2, 0)
    assert "renew" not in output
    assert "PRIVATE" not in output


def test_config_notes_a_certificate_that_expires_soon(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the same time before the expiry as in the log."""
    tls = tls_flags(tmp_path, issue(days=(-300, 13)))
    assert main(["config", *flags(tmp_path, dynamodb_local, table, *tls)]) == 0
    notes = yaml.safe_load(capsys.readouterr().out)["notes"]
    assert [note.split(": ")[0] for note in notes if note.endswith("; renew it")] == [
        "tls_certificate",
        "tls_client_ca",
    ]


def test_config_refuses_a_certificate_that_serve_would_refuse(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is that of wrong settings."""
    tls = tls_flags(tmp_path, issue(days=(-9, -1)))
    assert main(["config", *flags(tmp_path, dynamodb_local, table, *tls)]) == 2
    assert "server.pem: tls_certificate: expired at " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["config", "serve"])
def test_plain_text_on_the_network_is_refused(
    tmp_path: Path,
    dynamodb_local: str,
    table: str,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    """Both commands refuse it before they ask DynamoDB anything."""
    given = flags(tmp_path, dynamodb_local, table, "--listen=0.0.0.0:0", "--metrics-listen=")
    assert main([command, *given]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("listen: plain text on 0.0.0.0, which is no loopback address")


def test_plain_text_on_the_network_may_be_asked_for(
    tmp_path: Path, dynamodb_local: str, table: str
) -> None:
    """A flag is enough."""
    given = flags(tmp_path, dynamodb_local, table, "--listen=0.0.0.0:0", "--insecure")
    assert main(["config", *given]) == 0
