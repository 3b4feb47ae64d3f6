"""The TypeScript client makes every call of the conformance kit, with the outcome of its case."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import pytest_asyncio

from tests.interop.kit_page import KitPage, open_kit_page
from tests.interop.typescript import TypeScript
from tests.support.chromium import FLAGS, Browser, find_browser
from tests.support.conformance import KitServer, load_cases, open_kit_server
from tests.support.gateway import Gateway, running_gateway
from tests.support.lengths import PATIENCE
from tests.support.processes import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

Report: TypeAlias = Callable[[str, str, str], None]
_CASES: Final = load_cases()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit_server(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str
) -> AsyncIterator[KitServer]:
    """The server of the kit."""
    async with open_kit_server(tmp_path_factory.mktemp("kit"), dynamodb_local) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit_page(typescript: TypeScript) -> AsyncIterator[KitPage]:
    """The page that runs the kit."""
    async with open_kit_page(typescript.folder, free_port()) as page:
        yield page


@pytest.fixture(scope="module")
def browser(show_line: Callable[[str], None]) -> Browser:
    """A Chromium."""
    return find_browser(show_line)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(
    kit_server: KitServer, kit_page: KitPage, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """Envoy before the server; the page of the kit may call it."""
    folder = tmp_path_factory.mktemp("gateway")
    running = running_gateway(folder, kit_server.address, allow_origins=[kit_page.origin])
    # In a thread: the server answers its health checks on this loop.
    opened = await asyncio.to_thread(running.__enter__)
    yield opened
    await asyncio.to_thread(running.__exit__, None, None, None)


def _kit(server: KitServer) -> dict[str, Any]:
    """Return the cases and the callers as the runners read them."""
    given = ({name: value for name, value in asdict(case).items() if value} for case in _CASES)
    cases = [{"request": {}, "expect": {}, **case} for case in given]
    return {"cases": cases, "server": json.loads(server.to_json())}


async def test_the_kit_passes_over_grpc(
    kit_server: KitServer, typescript: TypeScript, tmp_path: Path, report: Report
) -> None:
    """On Node.js, over HTTP/2 to the service, every case has its outcome."""
    outcome = await _run(kit_server, typescript, tmp_path, f"http://{kit_server.address}", "grpc")
    _check(outcome, "Node.js, gRPC", report)


async def test_the_kit_passes_over_grpc_web(
    kit_server: KitServer,
    gateway: Gateway,
    typescript: TypeScript,
    tmp_path: Path,
    report: Report,
) -> None:
    """On Node.js, over gRPC-Web to Envoy before the service, every case has its outcome."""
    outcome = await _run(kit_server, typescript, tmp_path, gateway.url, "grpc-web")
    _check(outcome, "Node.js, gRPC-Web through Envoy", report)


async def test_the_kit_passes_in_a_browser(
    kit_server: KitServer,
    gateway: Gateway,
    kit_page: KitPage,
    browser: Browser,
    tmp_path: Path,
    report: Report,
) -> None:
    """In Chromium, from a page of another origin that the gateway allows, every case passes."""
    kit_page.kit = _kit(kit_server) | {"baseUrl": gateway.url}
    profile = f"--user-data-dir={tmp_path}"
    process = await asyncio.create_subprocess_exec(
        *(str(browser.executable), *FLAGS, profile, kit_page.origin),
        env={**os.environ, **browser.variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        outcome = await asyncio.wait_for(kit_page.report, 2 * PATIENCE)
    finally:
        process.terminate()
        await process.wait()
    _check(outcome, "Chromium, gRPC-Web through Envoy", report)


async def _run(
    server: KitServer, typescript: TypeScript, folder: Path, url: str, protocol: str
) -> dict[str, Any]:
    """Run the kit on Node.js, and return the report."""
    kit = folder / "kit.json"
    kit.write_text(json.dumps(_kit(server)), encoding="utf-8")
    script = str(typescript.build / "conformance_node.js")
    code, output = await typescript.node(script, str(kit), url, protocol)
    assert code == 0, output
    outcome: dict[str, Any] = json.loads(output.splitlines()[-1])
    return outcome


def _check(outcome: dict[str, Any], platform: str, report: Report) -> None:
    passed = outcome["ran"] - len(outcome["failed"])
    report(f"conformance: {platform}", f"{len(_CASES)} cases pass", f"{passed} passed")
    assert outcome == {"ran": len(_CASES), "failed": {}}
