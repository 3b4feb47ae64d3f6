"""The settings of TLS: which go together, and the errors about the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dynamodb_processor_server.config_files.tls_files import TlsFiles
from dynamodb_processor_server.errors import ConfigurationError
from tests.unit.settings.setting_cases import by_flags

_PAIR = {"tls_certificate": "c.pem", "tls_key": "k.pem"}
_MUTUAL = {**_PAIR, "tls_client_ca": "ca.pem"}


@pytest.mark.parametrize(
    ("given", "files"),
    [
        ({}, None),
        ({"insecure": "true"}, None),
        ({"tls_certificate": "", "tls_key": "", "tls_client_ca": ""}, None),
        (_PAIR, TlsFiles(Path("c.pem"), Path("k.pem"))),
        (_MUTUAL, TlsFiles(Path("c.pem"), Path("k.pem"), Path("ca.pem"))),
        ({**_MUTUAL, "mtls_listen": "127.0.0.1:2"}, TlsFiles(*map(Path, _MUTUAL.values()))),
    ],
)
def test_settings_that_go_together(given: dict[str, Any], files: TlsFiles | None) -> None:
    """Without files the server speaks plain text; an empty value is no file."""
    assert by_flags(**given).tls_files() == files


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"tls_key": "k.pem"}, "tls_key: needs tls_certificate"),
        ({"tls_certificate": "c.pem"}, "tls_certificate: needs tls_key"),
        ({"tls_client_ca": "ca.pem"}, "tls_client_ca: needs tls_certificate and tls_key"),
        (
            {"mtls_listen": "127.0.0.1:2"},
            "mtls_listen: needs tls_certificate, tls_key and tls_client_ca",
        ),
        ({**_PAIR, "mtls_listen": "127.0.0.1:2"}, "mtls_listen: needs tls_client_ca"),
        (
            {**_PAIR, "insecure": "true"},
            "insecure: contradicts tls_certificate; give one of the two",
        ),
    ],
)
def test_settings_that_do_not(given: dict[str, Any], error: str) -> None:
    """The error names the setting and the one that it lacks."""
    with pytest.raises(ConfigurationError) as caught:
        by_flags(**given).tls_files()
    assert str(caught.value) == error


def test_the_health_port_needs_connections_of_its_own() -> None:
    """They are among those that the limit on open files leaves free for the server."""
    with_port = by_flags(health_listen="127.0.0.1:3").other_connections()
    assert with_port == by_flags().other_connections() + 128
