"""Tests of `dynamodb-processor health`."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from dynamodb_processor_server.__main__ import main
from dynamodb_processor_server.cli.health import check_health
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
