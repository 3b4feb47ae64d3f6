"""The TypeScript client makes every call of the conformance kit, with the outcome of its case."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.interop.typescript import TypeScript
from tests.support.conformance import KitServer, load_cases, open_kit_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

_CASES: Final = load_cases()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def kit_server(
    tmp_path_factory: pytest.TempPathFactory, dynamodb_local: str
) -> AsyncIterator[KitServer]:
    """The server of the kit."""
    async with open_kit_server(tmp_path_factory.mktemp("kit"), dynamodb_local) as server:
        yield server


def _kit(server: KitServer) -> dict[str, Any]:
    """Return the cases and the callers as the runners read them."""
    given = ({name: value for name, value in asdict(case).items() if value} for case in _CASES)
    cases = [{"request": {}, "expect": {}, **case} for case in given]
    return {"cases": cases, "server": json.loads(server.to_json())}


async def test_the_kit_passes_over_grpc(
    kit_server: KitServer,
    typescript: TypeScript,
    tmp_path: Path,
    report: Callable[[str, str, str], None],
) -> None:
    """On Node.js, over HTTP/2 to the service, every case has its outcome."""
    kit = tmp_path / "kit.json"
    kit.write_text(json.dumps(_kit(kit_server)), encoding="utf-8")
    url = f"http://{kit_server.address}"
    script = str(typescript.build / "conformance_node.js")
    code, output = await typescript.node(script, str(kit), url, "grpc")
    assert code == 0, output
    _check(json.loads(output.splitlines()[-1]), "Node.js, gRPC", report)


def _check(outcome: dict[str, Any], platform: str, report: Callable[[str, str, str], None]) -> None:
    passed = outcome["ran"] - len(outcome["failed"])
    report(f"conformance: {platform}", f"{len(_CASES)} cases pass", f"{passed} passed")
    assert outcome == {"ran": len(_CASES), "failed": {}}
