"""Compiles the TypeScript client and its tests, and runs programs of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import ToolCache
from tests.support.documentation import ROOT
from tests.support.lengths import PATIENCE

PACKAGE: Final = ROOT / "clients/typescript"


@dataclass(frozen=True, slots=True)
class TypeScript:
    """A copy of the package with its dependencies; its programs are compiled into `build`."""

    folder: Path
    cache: ToolCache

    @property
    def build(self) -> Path:
        """The folder with the compiled tests."""
        return self.folder / "build/test"

    @property
    def tsc(self) -> list[str]:
        """The command of the compiler."""
        return [self.cache.node(), str(self.folder / "node_modules/typescript/bin/tsc")]

    async def node(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Run Node.js to its end; return its exit code and its output."""
        return await run([self.cache.node(), *arguments], self.folder, environment)


def compiled(folder: Path, report: Callable[[str], None]) -> TypeScript:
    """Copy the package into a folder, and compile its sources and tests there."""
    cache = ToolCache(report=report)
    for name in ("src", "test"):
        shutil.copytree(PACKAGE / name, folder / name)
    for file in PACKAGE.iterdir():
        if file.is_file():
            shutil.copy(file, folder)
    packages = cache.npm_project("typescript", PACKAGE)
    (folder / "node_modules").symlink_to(packages / "node_modules")
    made = TypeScript(folder, cache)
    subprocess.run(made.tsc, cwd=folder, check=True)
    return made


async def run(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Run a program in a folder to its end; return its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 4 * PATIENCE)
    assert process.returncode is not None
    return process.returncode, output.decode()
