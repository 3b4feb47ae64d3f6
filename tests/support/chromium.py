"""Headless Chromium, and Node.js scripts that drive it with Playwright.

A Chromium of the machine is used if there is one. Otherwise it comes from the npm package
`@sparticuz/chromium`, which carries the libraries of a desktop as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import ToolCache

_SUPPORT: Final = Path(__file__).with_name("browser")
#: A browser that no person uses: no sandbox, since tests may run as root, and no calls of its own.
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Browser:
    """A Chromium, and the packages that drive it.

    Attributes:
        node: The command of Node.js.
        packages: The folder `node_modules` with `playwright-core` and `axe-core`.
        executable: Chromium's program.
        variables: The variables that Chromium needs.
    """

    node: str
    packages: Path
    executable: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    def prepare(self, script: Path, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Return the command that runs a script of Node.js, and its environment.

        The script and its neighbours are copied into `folder`, beside the packages and
        `launch.mjs`, whose `launch()` returns the browser. The script has to close it.
        """
        shutil.copytree(script.parent, folder, dirs_exist_ok=True)
        shutil.copy(_SUPPORT / "launch.mjs", folder)
        (folder / "node_modules").symlink_to(self.packages)
        variables = {"CHROMIUM": str(self.executable), "CHROMIUM_FLAGS": " ".join(FLAGS)}
        return [self.node, str(folder / script.name)], {**os.environ, **self.variables, **variables}


def find_browser(report: Callable[[str], None]) -> Browser:
    """Return the browser; `report` gets a line before anything is fetched.

    Raises:
        ToolUnavailable: Node.js or the packages could not be fetched.
    """
    cache = ToolCache(report=report)
    packages = cache.npm_project("browser", _SUPPORT / "packages") / "node_modules"
    own = shutil.which("chromium")
    if own is not None:
        return Browser(cache.node(), packages, Path(own))
    unpacked = _unpacked(cache)
    variables = {"LD_LIBRARY_PATH": str(unpacked / "al2023/lib")}
    return Browser(cache.node(), packages, unpacked / "chromium", variables)


def _unpacked(cache: ToolCache) -> Path:
    """Return the folder with the unpacked Chromium, which is complete or not there."""
    project = cache.npm_project("chromium", _SUPPORT / "chromium")
    folder = project / "unpacked"
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=project) as scratch:
        script = Path(shutil.copy(_SUPPORT / "unpack.mjs", scratch))
        made = Path(scratch) / "unpacked"
        subprocess.run([cache.node(), str(script), str(made)], check=True)
        try:
            made.rename(folder)
        except OSError:
            # Another process was faster.
            if not folder.is_dir():
                raise
    return folder
