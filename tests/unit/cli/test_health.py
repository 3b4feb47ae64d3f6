"""Tests of `dynamodb-processor health`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from dynamodb_processor_server.__main__ import main
from dynamodb_processor_server.cli.health import check_health, tls_options
from tests.support.certificates import issue
from tests.support.datasets import Index
from tests.support.processes import free_address
from tests.support.running import open_service

_INDEX = Index("by_kind", local=False, partition=("kind",), sort=())


async def test_health_asks_a_server(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 0 for SERVING, 1 for all else; the answer is printed."""
    catalog = {"tables": {"events": {"table": table}, "gone": {"table": "main-never-there"}}}
    async with open_service(tmp_path, dynamodb_local, catalog) as service:
        address = service.app.address
        for name, code, output in (
            ("liveness", 0, "SERVING"),
            ("readiness", 1, f"{address}: NOT_SERVING"),
            ("nonsense", 1, f"{address}: NOT_FOUND"),
        ):
            assert await check_health(address, name) == code
            assert capsys.readouterr().out.splitlines()[-1] == output


async def test_health_can_wait_for_a_server(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a timeout the command asks until the server serves, and prints the last answer."""
    address = free_address()
    async with AsyncExitStack() as stack:
        starts: list[float] = []

        async def start(pause: float) -> None:
            if not starts:
                catalog = {"tables": {"events": {"table": table}}}
                service = open_service(tmp_path, dynamodb_local, catalog, listen=address)
                await stack.enter_async_context(service)
            starts.append(pause)

        assert await check_health(address, "liveness", wait=60, sleep=start) == 0
        assert starts
    assert "SERVING" in capsys.readouterr().out.splitlines()
    assert await check_health(address, "liveness", wait=0.3) == 1
    assert capsys.readouterr().out == f"{address}: UNAVAILABLE\n"


def test_health_without_a_server_fails(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that is not there does not serve."""
    assert main(["health", "--target", "127.0.0.1:9"]) == 1
    assert capsys.readouterr().out == "127.0.0.1:9: UNAVAILABLE\n"


async def test_health_asks_a_server_with_tls(
    tmp_path: Path, dynamodb_local: str, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The flags are those of `ddbq`; a port for health alone needs none of them."""
    authority, server = issue(common_name="authority"), issue("db.test")
    ca, _ = authority.write(tmp_path, "ca")
    certificate, key = server.write(tmp_path, "server")
    client, client_key = issue(uris=["spiffe://tests/probe"], issuer=authority).write(
        tmp_path, "client"
    )
    tls: dict[str, Any] = {"tls_certificate": certificate, "tls_key": key, "tls_client_ca": ca}
    catalog = {"tables": {"events": {"table": table}}}
    async with open_service(
        tmp_path, dynamodb_local, catalog, health_listen="127.0.0.1:0", **tls
    ) as service:
        address = service.app.address
        given = tls_options(str(certificate), str(client), str(client_key), "db.test")
        assert await check_health(address, "readiness", tls=given) == 0
        for wrong in (
            None,
            tls_options(str(certificate), None, None, "db.test"),
            tls_options(str(certificate), str(client), str(client_key), ""),
            tls_options(str(ca), str(client), str(client_key), "db.test"),
        ):
            assert await check_health(address, "readiness", tls=wrong) == 1
        assert await check_health(service.app.health_address, "readiness") == 0
    assert "SERVING" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--cert=c.pem"], "--cert, --cert-key and --server-name need --cacert"),
        (["--cacert=none.pem", "--cert=c.pem"], "--cert and --cert-key: give both or none"),
        (
            ["--cacert=none.pem"],
            "--cacert: none.pem: cannot be read: No such file or directory",
        ),
    ],
)
def test_wrong_tls_flags_are_named(
    flags: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is that of wrong usage."""
    assert main(["health", *flags]) == 2
    assert capsys.readouterr().err == f"{error}\n"
