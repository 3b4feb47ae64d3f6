"""Tests of starts that end with an error: a wrong TLS file, and a taken port for health."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from dynamodb_processor_server.errors import ConfigurationError
from tests.rpc.data import events_catalog
from tests.rpc.tls_world import TlsWorld
from tests.support.certificates import issue
from tests.support.running import open_service


async def test_a_wrong_file_is_a_configuration_error(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """The server does not start; the error names the file, the setting and the remedy."""
    world = TlsWorld(tmp_path / "tls")
    world.key.write_bytes(issue().key)
    with pytest.raises(ConfigurationError) as caught:
        async with open_service(tmp_path, dynamodb_local, events_catalog(events), **world.settings):
            pass
    assert str(caught.value) == (
        f"{world.key}: tls_key: is not the key of tls_certificate; give the two files that were "
        "issued together"
    )


async def test_a_taken_health_port_is_a_configuration_error(
    tmp_path: Path, dynamodb_local: str, events: str
) -> None:
    """The server that has started already ends again."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ConfigurationError, match=r"health_listen: cannot serve on .* in use"):
            async with open_service(
                tmp_path, dynamodb_local, events_catalog(events), health_listen=address
            ):
                pass
