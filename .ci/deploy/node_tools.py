"""Fetches the locked npm packages of `.ci/deploy/npm` once, and runs scripts of that folder.

`node_tools.py run SCRIPT [ARGUMENT ...]` runs one, and `node_tools.py version PACKAGE` prints the
locked version of a package.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dynamodb_processor_server.demo.tool_cache import ToolCache

FOLDER: Final = Path(__file__).parent / "npm"
_INSTALL: Final = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")


def packages(cache: ToolCache) -> Path:
    """Return a folder with the locked packages, which are fetched if it is not there."""
    lock = FOLDER / "package-lock.json"
    target = cache.root / f"deploy-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    if target.is_dir():
        return target
    cache.root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.root) as scratch:
        folder = Path(scratch) / "entry"
        folder.mkdir()
        for file in (FOLDER / "package.json", lock):
            shutil.copy(file, folder)
        subprocess.run([*cache.npm(), *_INSTALL], cwd=folder, check=True, timeout=900)
        folder.rename(target)
    return target


def run_script(script: str, *arguments: str) -> int:
    """Run a script beside the packages that it imports, and return its exit code."""
    cache = ToolCache()
    npm = cache.npm()
    node = npm[0] if len(npm) > 1 else str(shutil.which("node"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "node_modules").symlink_to(packages(cache) / "node_modules")
        shutil.copy(FOLDER / script, folder)
        return subprocess.run([node, str(folder / script), *arguments], check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """Run a script, or print a version."""
    action, name, *rest = arguments
    if action == "run":
        return run_script(name, *rest)
    lock = json.loads((FOLDER / "package-lock.json").read_text("utf-8"))
    print(lock["packages"][f"node_modules/{name}"]["version"])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
