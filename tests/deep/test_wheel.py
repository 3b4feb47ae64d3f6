"""The wheel, installed in fresh environments with the oldest and the newest dependencies."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Final

import pytest

from tests.support.documentation import ROOT, code_blocks
from tests.support.fake_server import running
from tests.support.fake_service import FakeService, numbered
from tests.unit.test_generated_code import dependencies

#: The versions that pip has to take; it chooses the others.
_LOWEST: Final = [
    f"{name}=={versions.split(',')[0].removeprefix('>=')}"
    for name, versions in dependencies().items()
]
_PINS: Final = {
    "lowest": _LOWEST,
    "protobuf 6": ["protobuf==6.*"],
    "protobuf 7": ["protobuf==7.*"],
}
_SYNCHRONOUS: Final = ("docs/guide/python-client.md", "dynamodb_processor_client.sync")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this project."""
    folder = tmp_path_factory.mktemp("wheel")
    _run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(folder), str(ROOT))  # fmt: skip
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.parametrize("pins", _PINS.values(), ids=_PINS)
async def test_the_examples_work_with_the_installed_wheel(
    wheel: Path, pins: list[str], tmp_path: Path
) -> None:
    """The programs of README.md and of the synchronous client run, with warnings as errors."""
    await asyncio.to_thread(venv.create, tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    await asyncio.to_thread(_run, str(python), "-m", "pip", "install", str(wheel), *pins)
    (asynchronous,) = code_blocks("README.md", "python")
    page, module = _SYNCHRONOUS
    (synchronous,) = (block for block in code_blocks(page, "python") if module in block)
    service = FakeService(items=numbered(250))
    async with running(service):
        for example in (asynchronous, synchronous):
            shown = await asyncio.to_thread(_example, python, example, service.address, tmp_path)
            assert shown.splitlines() == ["3 items by None", "250 items in all"]


def _example(python: Path, program: str, address: str, folder: Path) -> str:
    """Run a program outside of the repository, whose packages it must not find."""
    text = program.replace("127.0.0.1:50051", address)
    environment = {"DDBQ_TARGET": address, "DDBQ_API_KEY": "ddbp_test"}
    return _run(str(python), "-W", "error", "-c", text, folder=folder, environment=environment)


def _run(
    *command: str, folder: Path | None = None, environment: dict[str, str] | None = None
) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
